"""All operands of a packed mode, made and checked in hardware: as primitive and as behaviour."""

from __future__ import annotations

from typing import Any, Literal

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from rtl.packed_mac import PackedMac
from sim.blocks.packed_mac import MAC_LATENCY_CYCLES, NIBBLE, PAIR, SPARSE, PackedMacConfig
from workloads.config import Config

FIELDS = {
    SPARSE: {"low": (2, False), "high": (2, False), "factor": (8, True), "other": (8, True)},
    PAIR: {"low": (8, True), "high": (8, True), "factor": (2, False)},
    NIBBLE: {"low": (4, False), "high": (4, False), "factor": (9, True)},
}
"""By mode: bits of each operand, and whether it has a sign."""


class SweepConfig(Config):
    """What is swept."""

    mode: Literal["8x4", "8x2-sparse", "8x2-pair"] = "8x2-sparse"
    """the mode"""
    sums: bool = False
    """sums of several items, with stalls; both forms are compared, not the products"""

    @property
    def number(self) -> int:
        """The mode as items give it."""
        return PackedMacConfig(mode=self.mode).modes[0]


class Sweep(wiring.Component):
    """Counts through all operands, -128 left out, and compares lanes with plain products.

    `done`: all were there. `wrong`: a product differed. `differs`: the vendor's primitive gave
    another output, or in another cycle, than its behaviour.
    """

    def __init__(self, config: SweepConfig) -> None:
        self.config = config
        super().__init__({"done": Out(1), "wrong": Out(1), "differs": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        both = [PackedMac(PackedMacConfig(primitive=primitive)) for primitive in (True, False)]
        m.submodules += both
        fields = FIELDS[self.config.number]
        count = Signal(sum(bits for bits, _ in fields.values()) + 1)
        noise = Signal(32, init=1)  # x^32 + x^22 + x^2 + x + 1
        m.d.sync += noise.eq((noise << 1) | (noise[31] ^ noise[21] ^ noise[1] ^ noise[0]))
        operands, at = {}, 0
        allowed: Value = ~count[-1]
        for name, (bits, has_sign) in fields.items():
            part = count[at : at + bits]
            operands[name] = Signal(signed(bits + 1), name=name)
            m.d.comb += operands[name].eq(part.as_signed() if has_sign else part)
            if has_sign:
                allowed = allowed & (operands[name] >= -127)
            at += bits
        sums = self.config.sums
        for mac in both:
            item = mac.i.payload
            m.d.comb += [
                mac.i.valid.eq(allowed),
                mac.o.ready.eq(noise[7] if sums else 1),
                item.mode.eq(self.config.number),
                item.first.eq(noise[13] if sums else 1),
                item.last.eq(noise[17] if sums else 1),
                *(item.operands[name].eq(value) for name, value in operands.items()),
            ]
        one, other = both
        moves = one.i.ready
        own = operands.get("other", operands["factor"])
        plain = [operands["low"] * operands["factor"], operands["high"] * own]
        with m.If(moves & ~count[-1]):
            m.d.sync += count.eq(count + 1)
        for _ in range(MAC_LATENCY_CYCLES):
            late = [Signal.like(value, name="late") for value in map(_named, plain)]
            m.d.sync += [held.eq(value) for held, value in zip(late, plain, strict=True)]
            plain = late
        found = [one.o.payload.low, one.o.payload.high]
        same = one.o.payload.as_value() == other.o.payload.as_value()
        flush = Signal(4)
        with m.If(count[-1] & ~flush.all()):
            m.d.sync += flush.eq(flush + 1)
        m.d.comb += self.done.eq(flush.all())
        with m.If(one.o.valid & ((found[0] != plain[0]) | (found[1] != plain[1]))):
            m.d.sync += self.wrong.eq(1)
        with m.If((one.o.valid != other.o.valid) | (one.i.ready != other.i.ready)):
            m.d.sync += self.differs.eq(1)
        with m.If(one.o.valid & ~same):
            m.d.sync += self.differs.eq(1)
        return m


def _named(value: Value) -> Signal:
    """Return a signal of a value's shape."""
    return Signal(value.shape())
