"""Packed multiply-accumulate on one DSP48E2. See `sim.blocks.packed_mac`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.dsp48 import Dsp48
from rtl.streams import advances, stage
from sim.blocks.packed_mac import (
    HIGH_FROM,
    LOW_BITS,
    OTHER_SHIFT,
    SPACING,
    SPARSE,
    PackedMacConfig,
)

MODES = range(len(SPACING))


def operand_layout() -> data.StructLayout:
    """Return the operands of one DSP: see `MacItem`."""
    return data.StructLayout(
        {"low": signed(8), "high": signed(8), "factor": signed(9), "other": signed(8)}
    )


def shared_layout() -> data.StructLayout:
    """Return what the DSPs of an array share in a cycle."""
    return data.StructLayout({"valid": 1, "mode": 2, "first": 1, "last": 1})


class MacControl:
    """What the DSPs of an array share: when their sums start and go on, and in which mode.

    A pipeline of 4 registers that moves in a cycle with `moves`. Nothing is built for modes that
    are not among `modes`.

    Attributes: `start`, `round`, `sums`: for the ports of `Dsp48`. `valid`, `last`, `mode`: of the
    sums that the DSPs hold. `entering`: the mode of operands.
    """

    def __init__(
        self, m: Module, moves: Value, shared: Any, modes: Sequence[int] = tuple(MODES)
    ) -> None:
        self._modes = modes
        self.entering = shared.mode
        places = [Cat(shared.valid, shared.last, shared.first, shared.mode)]
        for number in range(4):
            places.append(stage(m, moves, places[-1], f"mac_{number}"))
        _, _, early, late, sums = places
        halves = [Const(1 << (start - 1), 48) for start in HIGH_FROM]
        self.start, self.round = early[2], self._chosen(early[3:], halves)
        self.sums = moves & late[0]
        self.valid, self.last, self.mode = sums[0], sums[1], sums[3:]

    def feed(self, m: Module, moves: Value, part: Any, dsp: Dsp48) -> None:
        """Drive a DSP with the operands of a cycle.

        On the pre-adder the fields do not overlap but for the sign of the low one; on B a negative
        factor borrows from the other.
        """
        factor = part.factor
        other = self._chosen(
            self.entering, [part.other if mode == SPARSE else Const(0, 8) for mode in MODES]
        )
        above = other - factor[-1]
        m.d.comb += [
            dsp.enable.eq(moves),
            dsp.sums.eq(self.sums),
            dsp.start.eq(self.start),
            dsp.c.eq(self.round),
            dsp.a.eq(self._chosen(self.entering, [part.high << shift for shift in SPACING])),
            dsp.d.eq(part.low),
            dsp.b.eq(Cat(factor, factor[-1], above[: 18 - OTHER_SHIFT])),
        ]

    def lanes(self, total: Value, bits: int) -> tuple[Value, Value]:
        """Return (low, high) lane of what a DSP summed, each signed of so many bits.

        The rounding constant has flipped the sign bit of a low lane that ends where the high one
        begins: it is flipped back.
        """
        lows, highs = [], []
        for low_bits, high_from in zip(LOW_BITS, HIGH_FROM, strict=True):
            sign = total[low_bits - 1]
            sign = ~sign if low_bits == high_from else sign
            low = Cat(total[: low_bits - 1], sign, sign.replicate(bits))
            high = Cat(total[high_from:], total[-1].replicate(bits))
            lows.append(low[:bits])
            highs.append(high[:bits])
        low, high = (self._chosen(self.mode, lanes) for lanes in (lows, highs))
        return low.as_signed(), high.as_signed()

    def _chosen(self, mode: Value, values: Sequence[Value]) -> Value:
        """Return the value of the mode, among those that are built."""
        *others, default = self._modes
        found = values[default]
        for number in others:
            found = Mux(mode == number, values[number], found)
        return found


class PackedMac(wiring.Component):
    """Multiplies and sums two products a cycle on one DSP48E2; latency 4 cycles, an item a cycle.

    Items are operands with a `mode` (0: 8x8, 1: 8x4, 2: sparse 8x2, 3: 8x2 for two tokens); `first`
    starts a sum, `last` ends it and gives one output, `low` and `high`. The mode must not change
    inside a sum, and a sum of the sparse mode is one item. Activations and 8-bit weights must be in
    -127..127. Lanes overflow beyond 8 products (8x8), 1,100 (8x4; 548 with unsigned 8-bit factors),
    688 (two tokens).

    With `primitive` the Verilog instantiates the vendor's DSP48E2.
    """

    def __init__(self, config: PackedMacConfig) -> None:
        self.config = config
        item = {"operands": operand_layout(), "mode": 2, "first": 1, "last": 1}
        lane = signed(config.lane_bits)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(item))),
                "o": Out(stream.Signature(data.StructLayout({"low": lane, "high": lane}))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        item, moves = self.i.payload, Signal()
        m.d.comb += [moves.eq(advances(self.o)), self.i.ready.eq(moves)]
        shared = Signal(shared_layout())
        m.d.comb += [
            shared.valid.eq(self.i.valid),
            shared.mode.eq(item.mode),
            shared.first.eq(item.first),
            shared.last.eq(item.last),
        ]
        control = MacControl(m, moves, shared, self.config.modes)
        m.submodules.dsp = dsp = Dsp48(self.config.primitive)
        control.feed(m, moves, item.operands, dsp)
        low, high = control.lanes(dsp.p, self.config.lane_bits)
        m.d.comb += [
            self.o.valid.eq(control.valid & control.last),
            self.o.payload.low.eq(low),
            self.o.payload.high.eq(high),
        ]
        return m
