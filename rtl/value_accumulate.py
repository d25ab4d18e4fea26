"""Running sums of attention and the division at a row's end. See `sim.blocks.value_accumulate`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.exp_block import block_layout
from rtl.rows import Table, larger
from rtl.streams import advances, stage
from sim.blocks.exp_block import EXP_BITS, ExpBlockConfig
from sim.blocks.value_accumulate import (
    MAX_LEFT,
    NORMAL_BITS,
    OUTPUT_BITS,
    PRODUCT_SHIFT,
    QUOTIENT_BITS,
    RECIPROCAL_BITS,
    SUM_BITS,
    TOTAL_BITS,
    ValueAccumulateConfig,
)
from workloads.errors import InputError

_ALWAYS = Const(1)
_OUTPUT_REGISTERS = 3  # in front of the output's own
_SHIFT_BITS = 6
_FARTHEST = (1 << _SHIFT_BITS) - 1  # a shift that leaves nothing but the sign


class ValueAccumulator(wiring.Component):
    """Adds blocks of keys to a head's running sums, and divides them at the end of a row.

    Takes what `BlockExponential` tells of a block, then the block's `sums` of weights times codes:
    `data`, unsigned, of `lanes` channels in each beat, from channel 0 on, `last` with the last
    beat. All blocks of a row have the same number of beats. With a block that `ends` a row its
    outputs leave: `data`, signed with 16 fraction bits, in as many beats.

    Values' scales must be below 64, and a row must have at most 8,192 keys. A block's sums are
    taken from 3 cycles after it on. From a row's last sums to its first outputs: 25 cycles; the
    next block is taken when all outputs have left.
    """

    def __init__(self, config: ValueAccumulateConfig) -> None:
        if config.channels % config.lanes:
            raise InputError(
                f"channels must be a multiple of lanes ({config.lanes}), not {config.channels}"
            )
        self.config = config
        row = {"data": data.ArrayLayout(config.raw_bits, config.lanes), "last": 1}
        result = {"data": data.ArrayLayout(signed(OUTPUT_BITS), config.lanes), "last": 1}
        self._block = block_layout(ExpBlockConfig(block=config.block))
        super().__init__(
            {
                "blocks": In(stream.Signature(self._block)),
                "sums": In(stream.Signature(data.StructLayout(row))),
                "o": Out(stream.Signature(data.StructLayout(result))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        places = range(max(2, config.beats))
        memory = Table(m, "running", data.ArrayLayout(signed(SUM_BITS), config.lanes), config.beats)
        place, final = Signal(places), Signal(places)  # of the beat that comes, of a row's last
        block = Signal(self._block, name="held_block")
        shifts = _Shifts(m, block)
        adds, emits, reading = Signal(), Signal(), Signal()
        takes = self.sums.valid & self.sums.ready
        left = Signal()  # a row's last outputs
        m.d.comb += [
            self.sums.ready.eq(adds),
            reading.eq(emits & advances(self.o)),
            left.eq(self.o.valid & self.o.ready & self.o.payload.last),
            memory.read.addr.eq(place),
            memory.read.en.eq(takes | reading),
        ]
        self._add(m, memory, shifts, block.zero_sum, takes, place)
        divider = _Divider(m, shifts.total)
        self._emit(m, memory, divider, emits, place == final)
        with m.If(takes | reading):
            ends = Mux(emits, place == final, self.sums.payload.last)
            m.d.sync += place.eq(Mux(ends, 0, place + 1))

        with m.FSM():
            with m.State("wait"):
                m.d.comb += self.blocks.ready.eq(1)
                m.d.sync += block.eq(self.blocks.payload)
                with m.If(self.blocks.valid):
                    m.next = "compare"
            with m.State("compare"):
                m.d.comb += shifts.compares.eq(1)
                m.next = "rescale"
            with m.State("rescale"):
                m.d.comb += shifts.rescales.eq(1)
                m.next = "add"
            with m.State("add"):
                m.d.comb += adds.eq(1)
                with m.If(takes & self.sums.payload.last):
                    m.d.comb += shifts.done.eq(1)
                    m.d.sync += final.eq(place)
                    m.next = "wait"
                    with m.If(block.ends):
                        m.next = "measure"
            with m.State("measure"):
                m.d.comb += divider.measures.eq(1)
                m.next = "normalise"
            with m.State("normalise"):
                m.d.comb += divider.starts.eq(1)
                m.next = "divide"
            with m.State("divide"):
                m.d.comb += divider.steps.eq(1)
                with m.If(divider.last):
                    m.next = "emit"
            with m.State("emit"):
                m.d.comb += emits.eq(1)
                with m.If(reading & (place == final)):
                    m.next = "leave"
            with m.State("leave"):
                with m.If(left):
                    m.next = "wait"
        return m

    def _add(
        self, m: Module, memory: Table, shifts: _Shifts, zero_sum: Value, takes: Value, place: Value
    ) -> None:
        """Add the pipeline of a beat of sums: read, shift, add and write."""
        lanes = range(self.config.lanes)
        width = self.config.raw_bits + 1
        moving, address = takes, place
        for number in range(2):
            moving = stage(m, _ALWAYS, moving, f"adding_{number}")
            address = stage(m, _ALWAYS, address, f"address_{number}")
        m.d.comb += [memory.write.en.eq(moving), memory.write.addr.eq(address)]
        for lane in lanes:
            exact = (self.sums.payload.data[lane] - zero_sum)[:width].as_signed()
            exact = stage(m, _ALWAYS, exact, f"exact_{lane}")
            moved = Cat(Const(0, MAX_LEFT), exact).as_signed() >> shifts.right
            moved = stage(m, _ALWAYS, moved, f"moved_{lane}")
            before = Mux(shifts.fresh, 0, memory.read.data[lane] >> shifts.old)
            before = stage(m, _ALWAYS, before.as_signed(), f"before_{lane}")
            m.d.comb += memory.write.data[lane].eq(before + moved)

    def _emit(self, m: Module, memory: Table, divider: _Divider, emits: Value, last: Value) -> None:
        """Add the pipeline of a beat of outputs, which stands still while the last one waits."""
        moves = advances(self.o)
        there = Cat(emits, last)
        for number in range(_OUTPUT_REGISTERS):
            there = stage(m, moves, there, f"emitting_{number}")
        with m.If(moves):
            m.d.sync += [self.o.valid.eq(there[0]), self.o.payload.last.eq(there[1])]
        for lane in range(self.config.lanes):
            doubled = Cat(Const(0, 1), memory.read.data[lane]).as_signed()
            normal = (doubled >> divider.right)[: self.config.normal_bits].as_signed()
            normal = stage(m, moves, normal, f"normal_{lane}")
            product = stage(m, moves, normal * divider.quotient, f"product_{lane}")
            rounded = (product + (1 << (PRODUCT_SHIFT - 1))) >> PRODUCT_SHIFT
            with m.If(moves):
                m.d.sync += self.o.payload.data[lane].eq(rounded)


class _Shifts:
    """Exponents of the running sums and of a block, and the sum of exponentials.

    To be driven, in three cycles: `compares` the exponents, `rescales` the sum of exponentials;
    `done` with a block's last beat.

    Attributes: `fresh`: the row's first block; `old`: how far the running sums move right;
    `right`: how far a block's sums do that were moved left by `MAX_LEFT`; `total`.
    """

    def __init__(self, m: Module, block: Any) -> None:
        self.compares, self.rescales, self.done = (
            Signal(name=name) for name in ("compares", "rescales", "done")
        )
        self.fresh, self.total = Signal(), Signal(TOTAL_BITS)
        self.old, self.right = Signal(_SHIFT_BITS), Signal(_SHIFT_BITS)
        starts = Signal(init=1, name="row_starts")
        new = Signal(_SHIFT_BITS, name="block_right")
        maximum = Signal(block.maximum.shape(), name="row_maximum")
        gap = Signal(signed(len(maximum) + 1), name="gap")  # by which the block's is larger
        m.d.comb += gap.eq(Mux(starts, 0, block.maximum - maximum))
        with m.If(self.compares):
            m.d.sync += [
                self.fresh.eq(starts),
                self.old.eq(_limited(gap)),
                new.eq(_limited(-gap)),
                maximum.eq(Mux(starts, block.maximum, larger(block.maximum, maximum))),
            ]
        with m.If(self.rescales):
            before = Mux(self.fresh, 0, self.total >> self.old)
            m.d.sync += [
                self.total.eq(before + (block.total >> new)),
                self.right.eq(_limited(MAX_LEFT - block.exponent + new)),
            ]
        with m.If(self.done):
            m.d.sync += starts.eq(block.ends)


class _Divider:
    """Reciprocal of the sum of exponentials, by restoring division, a bit a cycle.

    To be driven: `measures`, then `starts`, then `steps` up to a cycle with `last`.

    Attributes: `right`: how far sums that were doubled move right to stand beside the divisor;
    `quotient`.
    """

    def __init__(self, m: Module, total: Value) -> None:
        self.measures, self.starts, self.steps, self.last = (
            Signal(name=name) for name in ("measures", "starts", "steps", "last_step")
        )
        self.right = Signal((TOTAL_BITS - EXP_BITS).bit_length(), name="normal_right")
        self.quotient = Signal(QUOTIENT_BITS)
        length = Signal.like(self.right, name="normal_length")
        for place in range(EXP_BITS, TOTAL_BITS):
            with m.If(total[place]):
                m.d.comb += length.eq(place + 1 - EXP_BITS)
        divisor, rest = Signal(NORMAL_BITS), Signal(NORMAL_BITS)
        number = Signal(range(QUOTIENT_BITS))
        doubled = Signal(NORMAL_BITS + 1)
        fits = doubled >= divisor
        m.d.comb += [doubled.eq(rest << 1), self.last.eq(number == QUOTIENT_BITS - 1)]
        with m.If(self.measures):
            m.d.sync += self.right.eq(length)
        with m.If(self.starts):
            m.d.sync += [
                divisor.eq(Cat(Const(0, 1), total) >> self.right),
                rest.eq(1 << (RECIPROCAL_BITS - QUOTIENT_BITS)),
                number.eq(0),
            ]
        with m.If(self.steps):
            m.d.sync += [
                rest.eq(Mux(fits, doubled - divisor, doubled)),
                self.quotient.eq(Cat(fits, self.quotient)),
                number.eq(number + 1),
            ]


def _limited(value: Value) -> Value:
    """Return a signed value between 0 and the farthest shift."""
    return Mux(value < 0, 0, Mux(value > _FARTHEST, _FARTHEST, value))[:_SHIFT_BITS]
