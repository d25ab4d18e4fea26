"""Rows of packed elements to full rows: what each row keeps is joined to what waits."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Signal


class Packer:
    """Logic that appends packed elements to what is pending and hands on full rows.

    Lanes of `entering` above its `number` must be zero. In a cycle in which a row becomes full it
    is there, and `writes` is high.

    Attributes:
        entering, number: to be driven: the row's elements, and how many they are.
        appends, clears: to be driven: the row is appended; nothing is pending any more.
        full, row, writes: a full row, its number, whether it is there.
        pending, count: elements that wait, and how many they are.
    """

    def __init__(self, m: Module, name: str, lanes: int, width: int, rows: int) -> None:
        self.name = name
        row_bits = lanes * width
        self.entering = Signal(row_bits, name=f"{name}_entering")
        self.number = Signal(range(lanes + 1), name=f"{name}_number")
        self.appends, self.clears = Signal(name=f"{name}_appends"), Signal(name=f"{name}_clears")
        self.pending = Signal(row_bits, name=f"{name}_pending")
        self.row = Signal(range(rows + 1), name=f"{name}_row")
        self.full = Signal(row_bits, name=f"{name}_full")
        self.writes = Signal(name=f"{name}_writes")
        self.count = count = Signal(range(lanes + 1), name=f"{name}_count")
        after = Signal(range(2 * lanes + 1), name=f"{name}_after")
        joined = Signal(2 * row_bits, name=f"{name}_joined")
        offsets = Array(Const(place * width, range(row_bits + 1)) for place in range(lanes + 1))
        m.d.comb += [
            joined.eq(self.pending | (self.entering << offsets[count])),
            after.eq(count + self.number),
            self.full.eq(joined[:row_bits]),
        ]
        with m.If(self.appends):
            with m.If(after >= lanes):
                m.d.comb += self.writes.eq(1)
                m.d.sync += [
                    self.pending.eq(joined[row_bits:]),
                    count.eq(after - lanes),
                    self.row.eq(self.row + 1),
                ]
            with m.Else():
                m.d.sync += [self.pending.eq(joined[:row_bits]), count.eq(after)]
        with m.If(self.clears):
            m.d.sync += [self.pending.eq(0), count.eq(0), self.row.eq(0)]
