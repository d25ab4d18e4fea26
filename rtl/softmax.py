"""Softmax: exponentials, their sum, one division a row. See `sim.blocks.softmax`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.rows import Intake, Store, Table, larger, largest, ring, tally
from rtl.streams import row_layout, stage
from sim.blocks.softmax import (
    DIVIDE_BITS,
    EXP_BITS,
    EXP_TABLE,
    FRACTION_BITS,
    MULTIPLIER_BITS,
    MULTIPLIER_FRACTION_BITS,
    TABLE_BITS,
    SoftmaxUnitConfig,
)

_EXP_WIDTH = EXP_BITS + 1  # of an exponential, at most 1 << EXP_BITS
_REST_BITS = FRACTION_BITS - TABLE_BITS
_STAGES = 5  # registers of `exponential`
_ALWAYS = Const(1)


class Softmax(wiring.Component):
    """Probabilities of rows of signed scores, bit for bit those of the golden function.

    Takes a request (`multiplier`: base-2 exponent of a score step, with 28 fraction bits), then
    the beats of its row: full ones but for the last, from 1 element to fifo_rows * lanes. Of a
    longer row fifo_rows beats are taken, then `i.ready` stays low. Probabilities leave in the same
    beats; lanes beyond `count` are 0.

    Three phases work on different rows: (1) store scores and find their maximum, (2) read them
    back, store the exponentials and add them up, (3) scale the exponentials by the reciprocal of
    the sum. Each takes a beat a cycle, the division one row a cycle, so without stalls outside
    `i.ready` never falls, whatever the rows' lengths. From the last beat of a row of n to its
    first probabilities: n + prob_bits + 26 cycles.
    """

    def __init__(self, config: SoftmaxUnitConfig) -> None:
        self.config = config
        self._scores = row_layout(config.lanes, signed(config.score_bits))
        self._exponentials = row_layout(config.lanes, _EXP_WIDTH)
        self._quotient_bits = config.prob_bits + DIVIDE_BITS - EXP_BITS
        self._sum_bits = (config.fifo_elements << EXP_BITS).bit_length()
        request = data.StructLayout({"multiplier": MULTIPLIER_BITS})
        super().__init__(
            {
                "request": In(stream.Signature(request)),
                "i": In(stream.Signature(self._scores)),
                "o": Out(stream.Signature(row_layout(config.lanes, config.prob_bits))),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """From the only beat of a row to its probabilities."""
        return self.config.prob_bits + 27

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        scores = Store(m, "scores", self._scores, config.score_depth)
        exponentials = Store(m, "exps", self._exponentials, config.exponential_depth)
        known, maximum, multiplier = self._load(m, scores)
        total, summed = self._exponentiate(m, scores, exponentials, maximum, multiplier)
        self._scale(m, exponentials, *self._divide(m, total, summed))
        m.d.comb += scores.reads.eq(known & exponentials.room)
        return m

    def _load(self, m: Module, scores: Store) -> tuple[Value, Value, Value]:
        """Add phase 1; return whether a whole row is stored, and the read row's parameters.

        The maximum of a row, in the cycle behind `scores.reads`, and its multiplier.
        """
        config = self.config
        lanes, width = range(config.lanes), config.score_bits
        least = -(1 << (width - 1))
        intake = Intake(m, self.request, self.i, scores.room, config.fifo_rows)
        row = self.i.payload
        m.d.comb += [
            scores.claims.eq(intake.takes),
            scores.writes.eq(intake.takes),
            scores.entering.eq(row),
        ]
        of_beat = stage(
            m, _ALWAYS, largest([row.data[lane] for lane in lanes], row.count, least), "beat_max"
        )
        taken = stage(m, _ALWAYS, intake.takes, "taken")
        first = stage(m, _ALWAYS, intake.first, "taken_first")
        ends = stage(m, _ALWAYS, intake.takes & intake.last, "taken_last")
        multiplier = stage(m, _ALWAYS, intake.request.multiplier, "taken_multiplier")
        so_far, newest = Signal(signed(width)), Signal(signed(width))
        m.d.comb += newest.eq(Mux(first, of_beat, larger(so_far, of_beat)))
        with m.If(taken):
            m.d.sync += so_far.eq(newest)

        leaves = scores.reads & scores.ends
        known = tally(m, "rows_known", config.score_depth, ends, leaves)
        layout = data.StructLayout({"maximum": signed(width), "multiplier": MULTIPLIER_BITS})
        rows = Table(m, "rows", layout, config.score_depth)
        m.d.comb += [
            rows.write.addr.eq(ring(m, "rows_tail", config.score_depth, ends)),
            rows.write.en.eq(ends),
            rows.write.data.maximum.eq(newest),
            rows.write.data.multiplier.eq(multiplier),
            rows.read.addr.eq(ring(m, "rows_head", config.score_depth, leaves)),
            rows.read.en.eq(scores.reads),
        ]
        return known != 0, rows.read.data.maximum, rows.read.data.multiplier

    def _exponentiate(
        self, m: Module, scores: Store, exponentials: Store, maximum: Value, multiplier: Value
    ) -> tuple[Value, Value]:
        """Add phase 2, a pipeline that never stops; return a row's sum and when it is there."""
        lanes = range(self.config.lanes)
        beat = scores.leaving
        factor = stage(m, _ALWAYS, multiplier, "factor")
        values = [
            exponential(m, maximum, beat.data[lane], factor, beat.count > lane, f"lane_{lane}")
            for lane in lanes
        ]
        moving = stage(m, _ALWAYS, scores.reads, "read")
        count, last = beat.count, beat.last
        for step in range(_STAGES):
            moving = stage(m, _ALWAYS, moving, f"moving_{step}")
            count = stage(m, _ALWAYS, count, f"count_{step}")
            last = stage(m, _ALWAYS, last, f"last_{step}")
        m.d.comb += [
            exponentials.claims.eq(scores.reads),
            exponentials.writes.eq(moving),
            exponentials.entering.data.eq(Cat(*values)),
            exponentials.entering.count.eq(count),
            exponentials.entering.last.eq(last),
        ]
        return self._sum(m, values, moving, last)

    def _sum(
        self, m: Module, values: list[Signal], moving: Value, last: Value
    ) -> tuple[Value, Value]:
        """Add the sum over lanes and beats; return it and when a row's is complete."""
        of_beat = stage(m, _ALWAYS, sum(values[1:], values[0]), "beat_sum")
        added = stage(m, _ALWAYS, moving, "added")
        ends = stage(m, _ALWAYS, moving & last, "added_last")
        so_far, total = Signal(self._sum_bits), Signal(self._sum_bits)
        m.d.comb += total.eq(so_far + of_beat)
        with m.If(added):
            m.d.sync += so_far.eq(Mux(ends, 0, total))
        return stage(m, _ALWAYS, total, "row_sum"), stage(m, _ALWAYS, ends, "summed")

    def _divide(self, m: Module, total: Value, enters: Value) -> tuple[Value, Value]:
        """Add a restoring divider, a quotient bit a stage; return quotient and when it is there.

        A sum is at least 1 << EXP_BITS, for the largest score alone, so the quotient has
        `_quotient_bits` and the bits of the dividend above them are the first remainder.
        """
        dividend = ((1 << self.config.prob_bits) - 1) << DIVIDE_BITS
        rest: Value = Const(dividend >> self._quotient_bits, self._sum_bits)
        quotient: Value = Const(0, 0)
        for bit in reversed(range(self._quotient_bits)):
            larger_rest = Cat(Const((dividend >> bit) & 1, 1), rest)
            fits = larger_rest >= total
            reduced = Mux(fits, larger_rest - total, larger_rest)[: self._sum_bits]
            rest = stage(m, _ALWAYS, reduced, f"rest_{bit}")
            quotient = stage(m, _ALWAYS, Cat(fits, quotient), f"quotient_{bit}")
            total = stage(m, _ALWAYS, total, f"divisor_{bit}")
            enters = stage(m, _ALWAYS, enters, f"dividing_{bit}")
        return quotient, enters

    def _scale(self, m: Module, exponentials: Store, quotient: Value, divided: Value) -> None:
        """Add phase 3: three stages, each of which waits only while the next is full."""
        config, lanes = self.config, range(self.config.lanes)
        depth, out = config.exponential_depth, self.o.payload
        leaves = exponentials.reads & exponentials.ends
        known = tally(m, "rows_divided", depth, divided, leaves)
        reciprocals = Table(m, "reciprocals", self._quotient_bits, depth)
        in_read, in_product = Signal(), Signal()
        moves_out = ~self.o.valid | self.o.ready
        moves_product = ~in_product | moves_out
        moves_read = ~in_read | moves_product
        m.d.comb += [
            exponentials.reads.eq((known != 0) & moves_read),
            reciprocals.write.addr.eq(ring(m, "reciprocals_tail", depth, divided)),
            reciprocals.write.en.eq(divided),
            reciprocals.write.data.eq(quotient),
            reciprocals.read.addr.eq(ring(m, "reciprocals_head", depth, leaves)),
            reciprocals.read.en.eq(exponentials.reads),
        ]
        with m.If(moves_read):
            m.d.sync += in_read.eq(exponentials.reads)
        with m.If(moves_product):
            m.d.sync += in_product.eq(in_read)
        with m.If(moves_out):
            m.d.sync += self.o.valid.eq(in_product)
        beat = exponentials.leaving
        for lane in lanes:
            product = stage(
                m, moves_product, beat.data[lane] * reciprocals.read.data, f"product_{lane}"
            )
            with m.If(moves_out):
                m.d.sync += out.data[lane].eq((product + (1 << (DIVIDE_BITS - 1))) >> DIVIDE_BITS)
        count = stage(m, moves_product, beat.count, "product_count")
        last = stage(m, moves_product, beat.last, "product_last")
        with m.If(moves_out):
            m.d.sync += [out.count.eq(count), out.last.eq(last)]


def exponential(
    m: Module, maximum: Value, score: Value, factor: Value, used: Value, name: str
) -> Signal:
    """Add a lane of 2**-x, with `EXP_BITS` fraction bits; return it 5 cycles later.

    Args:
        m: the module.
        maximum, score: x is their difference times the multiplier.
        factor: the multiplier, a cycle later.
        used: whether the lane holds a score; otherwise the result is 0.
        name: of the lane's registers.
    """
    below = stage(m, _ALWAYS, (maximum - score)[: len(score)], f"{name}_below")
    product = stage(m, _ALWAYS, below * factor, f"{name}_product")
    exponent = product[MULTIPLIER_FRACTION_BITS - FRACTION_BITS :]
    whole, fraction = exponent[FRACTION_BITS:], exponent[:FRACTION_BITS]
    index, rest = fraction[_REST_BITS:], fraction[:_REST_BITS]

    table = EXP_TABLE.tolist()
    bases = Array(Const(base, _EXP_WIDTH) for base in table[:-1])
    steps = Array(high - low for high, low in pairwise(table))
    base = stage(m, _ALWAYS, bases[index], f"{name}_base")
    step = stage(m, _ALWAYS, steps[index], f"{name}_step")
    rest = stage(m, _ALWAYS, rest, f"{name}_rest")
    value = stage(m, _ALWAYS, (base - ((step * rest) >> _REST_BITS))[:_EXP_WIDTH], f"{name}_value")

    # a shift by _EXP_WIDTH = 16 or more, up to the golden function's limit of 62, leaves nothing
    shift_bits = (_EXP_WIDTH - 1).bit_length()
    counts = used
    for number in range(2):
        counts = stage(m, _ALWAYS, counts, f"{name}_used_{number}")
    counts = counts & (whole[shift_bits:] == 0)
    shift = whole[:shift_bits]
    for number in range(2):
        counts = stage(m, _ALWAYS, counts, f"{name}_counts_{number}")
        shift = stage(m, _ALWAYS, shift, f"{name}_shift_{number}")
    return stage(m, _ALWAYS, Mux(counts, value >> shift, 0), f"{name}_exponential")
