"""Simulations beside this process give what this process would."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import wait

import pytest

from reports import simulations
from reports.console import Phases
from reports.simulations import Simulations
from sim.machines import make_machine
from sim.result import Result
from workloads.errors import InputError
from workloads.shapes import SHAPES
from workloads.synthetic import shape_trace


def run(tokens: int, *, beside: bool, meddle: Callable[[Simulations], None] = id) -> list[Result]:
    trace = shape_trace(SHAPES["deit-small"], tokens)
    with Phases(visible=False) as phases, Simulations(phases, beside=beside) as queue:
        for machine in ("spatten", "dense"):
            queue.add(trace, make_machine(machine), 0)
        meddle(queue)
        queue.finish()
        return queue.results


def test_same_rows_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulations, "cores", lambda: 2)
    beside, here = run(16, beside=True), run(16, beside=False)
    assert [result.row for result in beside] == [result.row for result in here]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_helper_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(queue: Simulations) -> None:
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, signal.SIGKILL)
        wait([task.future for task in queue._tasks if task.future], timeout=60)

    monkeypatch.setattr(simulations, "cores", lambda: 2)
    assert len(run(16, beside=True, meddle=kill)) == 2


def test_a_mistake_in_the_helper_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulations, "cores", lambda: 2)
    with pytest.raises(InputError):
        run(1100, beside=True)
