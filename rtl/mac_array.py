"""The packed multiply-accumulates of an engine. See `sim.blocks.mac_array`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.dsp48 import Dsp48
from rtl.packed_mac import MODES, MacControl, operand_layout, shared_layout
from rtl.streams import advances, fitted
from sim.blocks.mac_array import MacArrayConfig


class DspArray:
    """DSPs inside another component, with a shared control.

    A pipeline of 4 registers that moves in a cycle with `moves`: operands, pre-adder, product, sum.

    Attributes: `valid`, `last`, `mode`: of the sums that the DSPs hold now; `totals`: P of each.
    """

    def __init__(
        self,
        m: Module,
        moves: Value,
        shared: Any,
        operands: Sequence[Any],
        primitive: bool,
        modes: Sequence[int] = tuple(MODES),
    ) -> None:
        """Build the DSPs.

        Args:
            m: the module.
            moves: whether the pipeline moves in this cycle.
            shared: `shared_layout` of the operands that enter.
            operands: of each DSP, as `operand_layout`.
            primitive: whether the vendor's primitive is instantiated.
            modes: that are built.
        """
        self._control = control = MacControl(m, moves, shared, modes)
        self.valid, self.last, self.mode = control.valid, control.last, control.mode
        self.totals: list[Value] = []
        for place, part in enumerate(operands):
            dsp = Dsp48(primitive)
            m.submodules[f"dsp_{place}"] = dsp
            control.feed(m, moves, part, dsp)
            self.totals.append(dsp.p)

    def lanes(self, bits: int) -> list[tuple[Value, Value]]:
        """Return (low, high) lane of each DSP, signed of so many bits."""
        return [self._control.lanes(total, bits) for total in self.totals]


class MacArray(wiring.Component):
    """Multiplies and sums two products a cycle on each of `dsps` DSP slices; latency 4 cycles.

    Items are the operands of all DSPs with one `mode` (0: 8x8, 1: 8x4, 2: sparse 8x2, 3: 8x2 for
    two tokens); `first` starts the sums, `last` ends them and gives one output, the `low` and
    `high` lane of each DSP. An item a cycle. Ranges and lengths of sums are those of `PackedMac`.
    """

    def __init__(self, config: MacArrayConfig) -> None:
        self.config = config
        operands = data.ArrayLayout(operand_layout(), config.dsps)
        item = {"operands": operands, "mode": 2, "first": 1, "last": 1}
        lanes = data.ArrayLayout(signed(config.lane_bits), config.dsps)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(item))),
                "o": Out(stream.Signature(data.StructLayout({"low": lanes, "high": lanes}))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        entering, moves = self.i.payload, Signal()
        shared = Signal(shared_layout())
        m.d.comb += [
            moves.eq(advances(self.o)),
            self.i.ready.eq(moves),
            shared.valid.eq(self.i.valid),
            shared.mode.eq(entering.mode),
            shared.first.eq(entering.first),
            shared.last.eq(entering.last),
        ]
        operands = [entering.operands[place] for place in range(self.config.dsps)]
        array = DspArray(m, moves, shared, operands, self.config.primitive)
        bits = self.config.lane_bits
        lows, highs = zip(*array.lanes(bits), strict=True)
        m.d.comb += [
            self.o.valid.eq(array.valid & array.last),
            self.o.payload.low.as_value().eq(Cat(*(fitted(lane, bits) for lane in lows))),
            self.o.payload.high.as_value().eq(Cat(*(fitted(lane, bits) for lane in highs))),
        ]
        return m
