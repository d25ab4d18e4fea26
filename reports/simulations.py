"""Simulations beside the work of this process: a second core runs them while traces are made."""

from __future__ import annotations

import multiprocessing
import signal
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

from reports.console import Phases
from reports.run_folder import cores

if TYPE_CHECKING:
    from sim.machines.base import BareMachine
    from sim.result import Result
    from workloads.trace import Trace

Timed = tuple[float, "Result"]


@dataclass
class _Task:
    name: str
    trace: Trace
    machine: BareMachine
    heads: int
    future: Future[Timed] | None = None
    result: Result | None = None


class Simulations:
    """Runs simulations in the order they are added; `finish` lets this process help.

    On one core, or with `beside` false, everything runs in `finish`.
    """

    def __init__(self, phases: Phases, *, beside: bool = True) -> None:
        self._phases = phases
        self._tasks: list[_Task] = []
        self._helper: ProcessPoolExecutor | None = None
        if beside and cores() > 1:
            self._helper = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), initializer=_prepare
            )
            self._helper.submit(_warm)

    def __enter__(self) -> Simulations:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the helper; at once if something went wrong."""
        if self._helper is None:
            return
        if error is not None:
            for process in multiprocessing.active_children():
                process.terminate()
        self._helper.shutdown(cancel_futures=True)

    def add(self, trace: Trace, machine: BareMachine, heads: int) -> None:
        """Queue one simulation that records a timeline of its first `heads` heads."""
        name = f"simulate {trace.header.method} on {machine.name}"
        task = _Task(name, trace, machine, heads)
        if self._helper is not None:
            task.future = self._helper.submit(_simulate, trace, machine, heads)
        self._tasks.append(task)

    def finish(self) -> None:
        """Run what the helper has not begun, last first, then wait for the helper.

        Raises:
            InputError: a machine cannot run a trace.
        """
        for task in reversed(self._tasks):
            if task.future is None or task.future.cancel():
                with self._phases(task.name):
                    _, task.result = _simulate(task.trace, task.machine, task.heads)
        for task in self._tasks:
            if task.result is None and task.future is not None:
                seconds, task.result = self._collect(task, task.future)
                self._phases.seconds[task.name] = seconds

    def _collect(self, task: _Task, future: Future[Timed]) -> Timed:
        try:
            return future.result()
        except BrokenProcessPool:  # the helper was killed, for memory perhaps: do it here
            return _simulate(task.trace, task.machine, task.heads)

    @property
    def results(self) -> list[Result]:
        """Results that are there so far, in the order they were added."""
        return [result for task in self._tasks if (result := _result(task)) is not None]


def _result(task: _Task) -> Result | None:
    future = task.future
    if task.result is None and future is not None and future.done() and not future.cancelled():
        return None if future.exception() else future.result()[1]
    return task.result


def _prepare() -> None:
    """Leave Ctrl-C to the parent, which stops this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _warm() -> None:
    """Import the simulator while the parent imports the model's libraries."""
    for name in ("sim.machines", "sim.run"):
        import_module(name)


def _simulate(trace: Trace, machine: BareMachine, heads: int) -> Timed:
    from sim.run import simulate

    started = time.perf_counter()
    result = simulate(trace, machine, heads)
    return time.perf_counter() - started, result
