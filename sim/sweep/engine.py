"""Engines: where the calls of a sweep run. The default is a pool of processes.

An engine takes a stream of calls and holds only a few at a time, so memory does not grow with the
number of points. A call that raises, or whose worker dies, costs one answer and nothing else.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from workloads.errors import InputError

AHEAD = 4  # calls that wait for each worker


@dataclass(frozen=True)
class Call:
    """One thing to do. Function and arguments must be picklable."""

    tag: Any  # tells the caller which one it is; it stays here
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Answer:
    """What became of a call."""

    tag: Any
    value: Any = None
    failure: str | None = None  # one sentence; None: it succeeded
    seconds: float = 0.0


Stream = Iterable[Call | Answer]
"""What an engine is given. An answer in it, of a call that needs no run, comes out again."""


class Engine(Protocol):
    """Runs calls; to be used as a context."""

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...

    def run(self, stream: Stream) -> Iterator[Answer]:
        """Yield one answer a call, in the order in which they end."""


def answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Any, float]:
    """Run a call in a worker; return (value, failure, seconds). What it raises is a failure."""
    started = time.perf_counter()
    value = failure = None
    try:
        value = function(*arguments)
    except InputError as error:
        failure = str(error)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    return value, failure, time.perf_counter() - started


class Processes:
    """A pool of processes on this machine.

    Calls under way when a worker dies are tried once more, each alone; one whose worker dies
    again has failed.
    """

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise InputError(f"jobs must be at least 1, not {jobs}")
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def run(self, stream: Stream) -> Iterator[Answer]:
        """Yield one answer a call."""
        items = iter(stream)
        suspects: list[Call] = []  # were under way when a worker died
        while True:
            yield from self._together(items, suspects)
            if not suspects:
                return
            self._stop()
            for call in suspects:
                yield self._alone(call)
            suspects.clear()

    def _together(self, items: Iterator[Call | Answer], suspects: list[Call]) -> Iterator[Answer]:
        """Run calls until there are no more or a worker dies; those under way are suspects then."""
        waiting: dict[Future[Any], Call] = {}
        more = True
        while not suspects and (more or waiting):
            while more and not suspects and len(waiting) < self._jobs * AHEAD:
                item = next(items, None)
                if isinstance(item, Answer):
                    yield item
                elif item is None:
                    more = False
                else:
                    self._submit(item, waiting, suspects)
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                call = waiting.pop(future)
                try:
                    yield Answer(call.tag, *future.result())
                except BrokenProcessPool:
                    suspects.append(call)
        suspects += waiting.values()

    def _submit(self, call: Call, waiting: dict[Future[Any], Call], suspects: list[Call]) -> None:
        try:
            waiting[self._workers().submit(answer, call.function, call.arguments)] = call
        except BrokenProcessPool:  # a worker died while nobody looked
            suspects.append(call)

    def _alone(self, call: Call) -> Answer:
        try:
            future = self._workers().submit(answer, call.function, call.arguments)
            return Answer(call.tag, *future.result())
        except BrokenProcessPool:
            self._stop()
            return Answer(call.tag, failure="the worker process that ran it died, twice")

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, context, initializer=_start)
        return self._pool

    def _stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    """Leave Ctrl-C to the parent, which stops this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
