"""KV4 dequantiser: arguments of base-2 exponentials. See `sim.blocks.kv4_dequant`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances, stage
from sim.blocks.kv4_dequant import (
    ARGUMENT_BITS,
    CODE_BITS,
    MULTIPLIER_BITS,
    SCALE_BITS,
    SHIFT_BITS,
    Kv4DequantConfig,
)

_COARSE_BITS = 3  # the shift's lowest bits are applied in the second of two stages


class Kv4Dequantizer(wiring.Component):
    """Turns dot products of codes into base-2 arguments, one a cycle; latency 6 cycles.

    An item: `dot`, the sum of query code times key code, `query_sum` of the query's codes, `zero`
    and FP16 `scale` (not negative) of the key, `multiplier` and `shift` of the query, and a `tag`
    that passes unchanged. Arguments have 10 fraction bits and saturate at 24 bits.
    """

    def __init__(self, config: Kv4DequantConfig) -> None:
        self.config = config
        entering = data.StructLayout(
            {
                "dot": signed(config.dot_bits),
                "query_sum": signed(config.sum_bits),
                "zero": CODE_BITS,
                "scale": SCALE_BITS,
                "multiplier": MULTIPLIER_BITS,
                "shift": signed(SHIFT_BITS),
                "tag": config.tag_bits,
            }
        )
        leaving = data.StructLayout({"argument": signed(ARGUMENT_BITS), "tag": config.tag_bits})
        super().__init__({"i": In(stream.Signature(entering)), "o": Out(stream.Signature(leaving))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        moves = Signal()
        m.d.comb += [moves.eq(advances(self.o)), self.i.ready.eq(moves)]
        argument = self._argument(m, moves)
        valid, tag = self.i.valid, self.i.payload.tag
        for number in range(self.config.latency_cycles - 1):
            valid = stage(m, moves, valid, f"valid_{number}")
            tag = stage(m, moves, tag, f"tag_{number}")
        with m.If(moves):
            m.d.sync += [
                self.o.valid.eq(valid),
                self.o.payload.tag.eq(tag),
                self.o.payload.argument.eq(argument),
            ]
        return m

    def _argument(self, m: Module, moves: Value) -> Value:
        """Add the pipeline but for its last register."""
        item, width = self.i.payload, self.config.product_bits
        exact = (item.dot - item.zero * item.query_sum)[: self.config.dot_bits]
        corrected = stage(m, moves, exact.as_signed(), "corrected")
        mantissa, exponent = half_parts(item.scale)
        mantissa = stage(m, moves, mantissa, "mantissa")
        right = stage(m, moves, _bounded(item.shift - exponent, width), "right_0")
        multiplier = stage(m, moves, item.multiplier, "multiplier_0")

        scaled = stage(m, moves, corrected * mantissa, "scaled")
        multiplier = stage(m, moves, multiplier, "multiplier_1")
        right = stage(m, moves, right, "right_1")

        product = stage(m, moves, (scaled * multiplier)[:width].as_signed(), "product")
        right = stage(m, moves, right, "right_2")

        # one bit below the point is kept to round
        coarse = Cat(Const(0, _COARSE_BITS), right[_COARSE_BITS:])
        wide = Cat(Const(0, ARGUMENT_BITS + 1), product).as_signed()
        shifted = stage(m, moves, wide >> coarse, "shifted")
        fine = stage(m, moves, right[:_COARSE_BITS], "right_3")
        doubled = stage(m, moves, shifted >> fine, "doubled")
        return saturated((doubled + 1) >> 1, ARGUMENT_BITS)


def half_parts(scale: Value) -> tuple[Value, Value]:
    """Return (mantissa, exponent) of an FP16 number >= 0: mantissa * 2**(exponent - 25)."""
    fraction, field = scale[:10], scale[10:15]
    normal = field != 0
    return Cat(fraction, normal), Cat(field[0] | ~normal, field[1:])


def saturated(value: Value, width: int) -> Value:
    """Return a signed value in fewer bits, or the nearest that fits."""
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    above = value[width - 1 :]
    fits = (above == 0) | above.all()
    return Mux(fits, value[:width], Mux(value[-1], low, high)[:width])


def _bounded(right: Value, width: int) -> Value:
    """Return how far to shift right what was moved up by the argument's bits, at least 0.

    Beyond these bounds nothing is left, or all that is not zero saturates.
    """
    lowest, highest = -ARGUMENT_BITS, width
    amount = Mux(right < lowest, lowest, Mux(right > highest, highest, right)) + ARGUMENT_BITS
    return amount[: (highest - lowest).bit_length()]
