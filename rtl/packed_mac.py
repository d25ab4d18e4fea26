"""Packed multiply-accumulate on one DSP48E2. See `sim.blocks.packed_mac`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
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


def operand_layout() -> data.StructLayout:
    """Return the operands of one DSP: see `MacItem`."""
    return data.StructLayout(
        {"low": signed(8), "high": signed(8), "factor": signed(9), "other": signed(8)}
    )


class MacControl:
    """What the DSPs of an array share: when their sums start and go on, and in which mode.

    A pipeline of 4 registers that moves in a cycle with `moves`. A constant mode needs no register.

    Attributes: `start`, `round`, `sums`: for the ports of `Dsp48`. `valid`, `last`, `mode`: of the
    sums that the DSPs hold.
    """

    def __init__(
        self, m: Module, moves: Value, valid: Value, first: Value, last: Value, mode: Value
    ) -> None:
        self.entering = mode
        constant = isinstance(mode, Const)
        place = Cat(valid, last, first) if constant else Cat(valid, last, first, mode)
        places = [place]
        for number in range(4):
            places.append(stage(m, moves, places[-1], f"mac_{number}"))
        _, _, early, late, sums = places
        halves = [Const(1 << (start - 1), 48) for start in HIGH_FROM]
        self.start, self.round = early[2], Array(halves)[mode if constant else early[3:]]
        self.sums = moves & late[0]
        self.valid, self.last, self.mode = sums[0], sums[1], mode if constant else sums[3:]


def packed(m: Module, moves: Value, control: MacControl, part: Any, dsp: Dsp48) -> None:
    """Feed a DSP with the operands of a cycle.

    On the pre-adder the fields do not overlap but for the sign of the low one; on B a negative
    factor borrows from the other.
    """
    mode, factor = control.entering, part.factor
    spread = Array([part.high << shift for shift in SPACING])[mode]
    above = Mux(mode == SPARSE, part.other, 0) - factor[-1]
    m.d.comb += [
        dsp.enable.eq(moves),
        dsp.sums.eq(control.sums),
        dsp.start.eq(control.start),
        dsp.c.eq(control.round),
        dsp.a.eq(spread),
        dsp.d.eq(part.low),
        dsp.b.eq(Cat(factor, factor[-1], above[: 18 - OTHER_SHIFT])),
    ]


def lanes_of(total: Value, mode: Value, bits: int) -> tuple[Value, Value]:
    """Return (low, high) lane of what a DSP summed, each signed of so many bits.

    The rounding constant has flipped the low lane's sign bit: it is flipped back.
    """
    lows, highs = [], []
    for low_bits, high_from in zip(LOW_BITS, HIGH_FROM, strict=True):
        if low_bits == high_from:
            sign = ~total[low_bits - 1]
            low = Cat(total[: low_bits - 1], sign, sign.replicate(bits))
        else:
            low = Cat(total[:low_bits], total[low_bits - 1].replicate(bits))
        high = Cat(total[high_from:], total[-1].replicate(bits))
        lows.append(low[:bits])
        highs.append(high[:bits])
    return Array(lows)[mode].as_signed(), Array(highs)[mode].as_signed()


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
        modes = self.config.modes
        mode = item.mode if len(modes) > 1 else Const(modes[0], 2)
        control = MacControl(m, moves, self.i.valid, item.first, item.last, mode)
        m.submodules.dsp = dsp = Dsp48(self.config.primitive)
        packed(m, moves, control, item.operands, dsp)
        low, high = lanes_of(dsp.p, control.mode, self.config.lane_bits)
        m.d.comb += [
            self.o.valid.eq(control.valid & control.last),
            self.o.payload.low.eq(low),
            self.o.payload.high.eq(high),
        ]
        return m
