"""Between the arrays' lines and the top-k engine's rows: wider rows in, lines out."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances, row_layout


class Widen(wiring.Component):
    """Joins rows of `lanes` elements to rows of `wide`; the last row of a vector may be shorter.

    A wide row is offered the cycle after its last part was taken; one part a cycle. A part is not
    taken while a wide row waits.
    """

    def __init__(self, lanes: int, wide: int, width_bits: int) -> None:
        self._lanes, self._wide, self._width = lanes, wide, width_bits
        super().__init__(
            {
                "i": In(stream.Signature(row_layout(lanes, width_bits))),
                "o": Out(stream.Signature(row_layout(wide, width_bits))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        parts, part_bits = self._wide // self._lanes, self._lanes * self._width
        number = Signal(range(max(2, parts)))  # of the part that comes
        part, wide = self.i.payload, self.o.payload
        m.d.comb += self.i.ready.eq(advances(self.o))
        with m.If(advances(self.o)):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            ends = part.last | (number == parts - 1)
            m.d.sync += [
                wide.data.as_value().word_select(number, part_bits).eq(part.data.as_value()),
                wide.count.eq(Mux(number == 0, 0, wide.count) + part.count),
                wide.last.eq(part.last),
                self.o.valid.eq(ends),
                number.eq(Mux(ends, 0, number + 1)),
            ]
        return m


class Scatter(wiring.Component):
    """Turns rows of kept elements into lines: the probability of each of a line's rows.

    Takes the top-k engine's rows (values, indices in ascending order, count, last) and gives, one
    a cycle, the lines that hold kept elements: line number, and by lane its probability or zero.
    `mask` tells which rows of a line are kept, also with probability 0. A last row that keeps
    nothing gives line 0 with zeros and an empty mask. The first line of a row is offered the cycle
    after the row was taken; a row is taken as the last line of the one before leaves.
    """

    def __init__(self, lanes: int, wide: int, width_bits: int, lines: int, entering: Any) -> None:
        self._lanes, self._wide = lanes, wide
        leaving = line_layout(lanes, width_bits, lines)
        super().__init__({"i": In(stream.Signature(entering)), "o": Out(stream.Signature(leaving))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        shift = (self._lanes - 1).bit_length()
        row, held = self.i.payload, Signal(self.i.payload.shape())
        left = Signal(self._wide)  # elements that have not left
        line, here = Signal.like(self.o.payload.line), Signal(self._wide)
        for lane in reversed(range(self._wide)):
            with m.If(left[lane]):
                m.d.comb += line.eq(held.index[lane] >> shift)
        for lane in range(self._wide):
            m.d.comb += here[lane].eq(left[lane] & ((held.index[lane] >> shift) == line))
        for place in range(self._lanes):
            chosen: Any = 0
            kept: Any = 0
            for lane in range(self._wide):
                mine = here[lane] & ((held.index[lane] & (self._lanes - 1)) == place)
                chosen = chosen | Mux(mine, held.data[lane], 0)
                kept = kept | mine
            m.d.comb += [
                self.o.payload.data[place].eq(chosen),
                self.o.payload.mask[place].eq(kept),
            ]
        ends = (left & ~here) == 0
        leaves = self.o.valid & self.o.ready
        m.d.comb += [
            self.o.payload.line.eq(line),
            self.o.payload.last.eq(held.last & ends),
            self.i.ready.eq(~self.o.valid | (leaves & ends)),
        ]
        with m.If(leaves):
            m.d.sync += left.eq(left & ~here)
        with m.If(self.i.ready):
            used = Cat(*(row.count > lane for lane in range(self._wide)))
            m.d.sync += [self.o.valid.eq(self.i.valid), held.eq(row), left.eq(used)]
        return m


def line_layout(lanes: int, width_bits: int, lines: int) -> data.StructLayout:
    """Return the payload of a line of V's probabilities.

    Fields: `data` by lane, `line`, its number, `mask` of the rows that are kept, `last` of a query.
    """
    return data.StructLayout(
        {
            "data": data.ArrayLayout(width_bits, lanes),
            "line": range(max(2, lines)),
            "mask": lanes,
            "last": 1,
        }
    )
