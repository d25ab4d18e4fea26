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

    Takes lines from `i` up to one marked `last`, at most `lines`. From the next cycle on `late`
    offers their numbers and masks, and behind its last one `o` the lines themselves, in order.
    """

    def __init__(self, lanes: int, width_bits: int, lines: int) -> None:
        self._lines = lines
        line = line_layout(lanes, width_bits, lines)
        super().__init__(
            {
                "i": In(stream.Signature(line)),
                "late": Out(stream.Signature(late_layout(lanes, lines))),
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
            self.late.payload.line.eq(self.o.payload.line),
            self.late.payload.mask.eq(self.o.payload.mask),
            self.late.payload.last.eq(self.o.payload.last),
        ]
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.i.ready.eq(1)
                self._pass(m, self.i, place, "TELL")
            with m.State("TELL"):
                m.d.comb += self.late.valid.eq(1)
                self._pass(m, self.late, place, "GIVE")
            with m.State("GIVE"):
                m.d.comb += self.o.valid.eq(1)
                self._pass(m, self.o, place, "TAKE")
        return m

    def _pass(self, m: Module, lines: Any, place: Signal, following: str) -> None:
        """Go through all lines, one each time a stream moves; then to another state."""
        with m.If(lines.valid & lines.ready):
            m.d.sync += place.eq(Mux(lines.payload.last, 0, place + 1))
            with m.If(lines.payload.last):
                m.next = following


def late_layout(lanes: int, lines: int) -> data.StructLayout:
    """Return the payload of a stream of lines to fetch: number, rows that are kept, the last."""
    return data.StructLayout({"line": range(max(2, lines)), "mask": lanes, "last": 1})
