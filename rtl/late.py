"""Lines of a query that wait for their values, which are fetched only after the selection."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.widen import line_layout


class LateLines(wiring.Component):
    """Keeps a query's lines, tells which rows of V they need, then gives them; each one a cycle.

    Takes lines from `i` up to one marked `last`, at most `lines`, and before them what they are of:
    the top-k engine's rows, `kept` in cycles in which it `notes`. From the cycle after the last
    line on `late` offers these as rows of the list, with masks of the places that are kept, and
    behind its last one `o` the lines themselves, in order.
    """

    def __init__(self, lanes: int, wide: int, width_bits: int, lines: int, kept: Any) -> None:
        self._lines, self._rows, self._shift = lines, lines * lanes // wide, wide.bit_length() - 1
        line = line_layout(lanes, width_bits, lines)
        super().__init__(
            {
                "notes": In(1),
                "kept": In(kept),
                "i": In(stream.Signature(line)),
                "late": Out(stream.Signature(late_layout(wide, self._rows))),
                "o": Out(stream.Signature(line)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        memory = Memory(shape=len(self.i.payload.as_value()), depth=self._lines, init=[])
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        place = Signal(range(max(2, self._lines)))  # of the line that enters or leaves
        m.d.comb += [
            write.addr.eq(place),
            write.data.eq(self.i.payload.as_value()),
            write.en.eq(self.i.valid & self.i.ready),
            read.addr.eq(place),
            self.o.payload.eq(read.data),
        ]
        told = self._note_rows(m)
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.i.ready.eq(1)
                self._pass(m, self.i, place, "TELL")
            with m.State("TELL"):
                m.d.comb += self.late.valid.eq(1)
                self._pass(m, self.late, told, "GIVE")
            with m.State("GIVE"):
                m.d.comb += self.o.valid.eq(1)
                self._pass(m, self.o, place, "TAKE")
        return m

    def _note_rows(self, m: Module) -> Signal:
        """Add what remembers the rows to tell; return the place of the one that is told."""
        row = self.late.payload
        memory = Memory(shape=len(row.as_value()), depth=self._rows, init=[])
        m.submodules.rows = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        noted, told = (Signal(range(max(2, self._rows)), name=name) for name in ("noted", "told"))
        entering = Signal(row.shape())
        for lane in range(1 << self._shift):
            place = self.kept.index[lane][: self._shift] if self._shift else 0
            with m.If(self.kept.count > lane):
                m.d.comb += entering.mask.bit_select(place, 1).eq(1)
        m.d.comb += [
            entering.row.eq(self.kept.index[0] >> self._shift),
            entering.last.eq(self.kept.last),
            write.addr.eq(noted),
            write.data.eq(entering),
            write.en.eq(self.notes),
            read.addr.eq(told),
            row.eq(read.data),
        ]
        with m.If(self.notes):
            m.d.sync += noted.eq(Mux(self.kept.last, 0, noted + 1))
        return told

    def _pass(self, m: Module, lines: Any, place: Signal, following: str) -> None:
        """Go through all lines, one each time a stream moves; then to another state."""
        with m.If(lines.valid & lines.ready):
            m.d.sync += place.eq(Mux(lines.payload.last, 0, place + 1))
            with m.If(lines.payload.last):
                m.next = following


def late_layout(wide: int, rows: int) -> data.StructLayout:
    """Return the payload of a stream of rows of the list to fetch: number, mask, the last."""
    return data.StructLayout({"row": range(max(2, rows)), "mask": wide, "last": 1})
