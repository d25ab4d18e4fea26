"""The W2A8KV4 engine. See `sim.blocks.w2a8kv4`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from rtl.mac_array import DspArray
from rtl.streams import fitted
from rtl.w2a8kv4_linear import LANE_BITS, LinearController, linear_ports
from sim.blocks.packed_mac import PAIR, SPARSE
from sim.blocks.w2a8kv4 import W2A8KV4EngineConfig


class W2A8KV4Engine(wiring.Component):
    """Multiplies packed 2:4 W2 weights with A8 activations: a beat of weights a cycle.

    `load` writes a `line` of 64 activations, all in -127..127, of an even token or with `odd` of an
    odd one; it is always taken. `command` runs a matrix: its `groups` of 64 inputs a row, its
    `blocks` of dsps / 16 rows, all at least 1. Vector mode, `matrix` = 0: one token, group g in
    line `base` + g. Matrix mode: `pairs` of tokens, group g of tokens 2 p and 2 p + 1 in line
    `base` + p * groups + g. The lines of a command must be there when it is given and stay until
    its last output left. `weights` are the data beats of the matrix in the order of
    `workloads.packed`, each with the metadata of its groups: for each block, group after group.

    Outputs: for each block, in order, the `sums` of its rows for each token in order, exact, in
    units of 2^-24 and the token's own scale; `last` ends a command. A beat takes 1 cycle in vector
    mode and 2 a pair in matrix mode, also from row to row and from command to command. Latency from
    a row's last step to its sums: 14 cycles, behind the register in which a beat waits.
    """

    def __init__(self, config: W2A8KV4EngineConfig) -> None:
        self.config = config
        super().__init__(linear_ports(config))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.linear = linear = LinearController(self.config)
        for name in linear_ports(self.config):
            connect(m, flipped(getattr(self, name)), getattr(linear, name))
        operands = [linear.operands[place] for place in range(self.config.dsps)]
        array = DspArray(
            m, linear.moves, linear.shared, operands, self.config.primitive, (SPARSE, PAIR)
        )
        lows, highs = zip(*array.lanes(LANE_BITS), strict=True)
        m.d.comb += [
            linear.moves.eq(~linear.waits),
            linear.low.as_value().eq(Cat(*(fitted(lane, LANE_BITS) for lane in lows))),
            linear.high.as_value().eq(Cat(*(fitted(lane, LANE_BITS) for lane in highs))),
        ]
        return m
