"""The W2A8KV4 engine. See `sim.blocks.w2a8kv4`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from rtl.mac_array import DspArray
from rtl.packed_mac import operand_layout, shared_layout
from rtl.streams import fitted
from rtl.w2a8kv4_attention import AttentionController, attention_ports
from rtl.w2a8kv4_linear import LANE_BITS, LinearController, linear_ports
from sim.blocks.packed_mac import LANE_BITS as ATTENTION_LANE_BITS
from sim.blocks.packed_mac import NIBBLE, PAIR, SPARSE
from sim.blocks.w2a8kv4 import W2A8KV4EngineConfig

_LINEAR = {name: name for name in ("load", "command", "weights", "sums")}
_ATTENTION = {"row": "command", "query": "query", "beats": "beats", "tokens": "tokens",
              "outputs": "o"}  # fmt: skip
"""Streams of the engine -> those of its half."""


class W2A8KV4Engine(wiring.Component):
    """Multiplies 2:4 sparse 2-bit weights with 8-bit activations, and attends to a 4-bit KV cache,
    all on one array of packed DSP slices; a beat of memory, 8 * dsps bits, a cycle.

    Matrices of weights. `load` writes a `line` of 64 activations, all in -127..127, of an even
    token or with `odd` of an odd one; it is always taken. `command` runs a matrix: its `groups` of
    64 inputs a row, its `blocks` of dsps / 16 rows, all at least 1. Vector mode, `matrix` = 0: one
    token, group g in line `base` + g. Matrix mode: `pairs` of tokens, group g of tokens 2 p and
    2 p + 1 in line `base` + p * groups + g. The lines of a command must be there when it is given
    and stay until its last output left. `weights` are the data beats of the matrix in the order of
    `workloads.packed`, each with the metadata of its groups: for each block, group after group.
    For each block, in order, `sums` gives those of its rows for each token in order, exact, in
    units of 2^-24 and the token's own scale; `last` ends a command. A beat takes 1 cycle in vector
    mode and 2 a pair in matrix mode, also from row to row and from command to command. Latency from
    a row's last step to its sums: 15 cycles, behind the register in which a beat waits.

    Attention. `row`, `query`, `beats`, `tokens` and `outputs` are as of `W2A8KV4Attention`.

    The array serves a matrix or a row of attention at a time. A row begins when no command is held,
    a command's steps when no row is under way; whichever comes in the meantime waits.
    """

    def __init__(self, config: W2A8KV4EngineConfig) -> None:
        self.config = config
        self._linear = LinearController(config)
        self._attention = AttentionController(config.attention)
        linear, attention = linear_ports(config), attention_ports(config.attention)
        super().__init__(
            {name: linear[own] for name, own in _LINEAR.items()}
            | {name: attention[own] for name, own in _ATTENTION.items()}
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.linear = linear = self._linear
        m.submodules.attention = attention = self._attention
        for half, names in ((linear, _LINEAR), (attention, _ATTENTION)):
            for name, own in names.items():
                connect(m, flipped(getattr(self, name)), getattr(half, own))
        moves = ~linear.waits & ~attention.waits
        m.d.comb += [
            linear.moves.eq(moves),
            linear.may_step.eq(~attention.active),
            attention.moves.eq(moves),
            attention.may_start.eq(~linear.holds),
        ]
        chosen = attention.shared.valid
        shared = Mux(chosen, attention.shared.as_value(), linear.shared.as_value())
        operands = [
            operand_layout()(
                Mux(chosen, attention.operands[dsp].as_value(), linear.operands[dsp].as_value())
            )
            for dsp in range(self.config.dsps)
        ]
        array = DspArray(
            m,
            moves,
            shared_layout()(shared),
            operands,
            primitive=self.config.primitive,
            modes=(NIBBLE, SPARSE, PAIR),
        )
        m.d.comb += attention.done.eq(array.valid & array.last & (array.mode == NIBBLE))
        for half, bits in ((linear, LANE_BITS), (attention, ATTENTION_LANE_BITS)):
            lows, highs = zip(*array.lanes(bits), strict=True)
            m.d.comb += [
                half.low.as_value().eq(Cat(*(fitted(lane, bits) for lane in lows))),
                half.high.as_value().eq(Cat(*(fitted(lane, bits) for lane in highs))),
            ]
        return m
