"""Engines: where the calls of a sweep run. The default is a pool of processes.

An engine takes a stream of calls and holds only a few at a time, so memory does not grow with the
number of points. A call that raises, or whose worker dies, costs one answer and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any, Protocol

from workloads.errors import InputError

AHEAD = 4  # most calls a worker is given at a time: while it runs one, others wait for it
QUICK = 0.5  # seconds; behind a call that takes longer none waits, another worker may be free first
STILLBORN = 3  # workers that may die one after another before they run anything


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

    Not `concurrent.futures`: there one dead worker takes all calls under way with it, and which of
    them killed it is not known. Here every worker has a pipe of its own. The call that ran when a
    worker died is tried once more, while nothing else runs; if its worker dies again it has failed.
    """

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise InputError(f"jobs must be at least 1, not {jobs}")
        self._jobs = jobs
        self._workers: list[_Worker] = []
        self._stillborn = 0  # since a worker last lived to run something

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def run(self, stream: Stream) -> Iterator[Answer]:
        """Yield one answer a call.

        Raises:
            InputError: no worker process can be started.
        """
        if any(worker.calls for worker in self._workers):
            self._stop()  # an earlier run was given up in the middle
        items = iter(stream)
        again: deque[_Given] = deque()  # calls that a dead worker left behind
        while True:
            yield from self._hand_out(items, again)
            busy = {worker.pipe: worker for worker in self._workers if worker.calls}
            if not busy:
                return
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                try:
                    yield from worker.listen()
                    self._stillborn = 0
                except (EOFError, OSError):
                    yield from self._bury(worker, again)

    def _hand_out(self, items: Iterator[Call | Answer], again: deque[_Given]) -> Iterator[Answer]:
        """Give calls to workers until each has enough."""
        while self._has_room(again):
            item = again.popleft() if again else next(items, None)
            if item is None:
                return
            if isinstance(item, Answer):
                yield item
                continue
            given = item if isinstance(item, _Given) else _Given(item)
            worker = self._next()
            try:
                worker.give(given)
            except OSError:  # it is dead; what it has answered before is still in its pipe
                again.appendleft(given)
                if not worker.calls:
                    self._workers.remove(worker)
                    worker.stop()
            except Exception as error:  # it cannot be pickled
                yield Answer(given.call.tag, failure=f"{type(error).__name__}: {error}")

    def _has_room(self, again: deque[_Given]) -> bool:
        busy = [worker for worker in self._workers if worker.calls]
        alone = any(worker.calls[0].deaths for worker in busy)  # what killed its worker runs alone
        if alone or (busy and again and again[0].deaths):
            return False
        return len(self._workers) < self._jobs or any(w.has_room for w in self._workers)

    def _next(self) -> _Worker:
        """Return the worker with the fewest calls; a new one before any has two."""
        free = [worker for worker in self._workers if worker.has_room]
        worker = min(free, key=lambda worker: len(worker.calls), default=None)
        if (worker is None or worker.calls) and len(self._workers) < self._jobs:
            worker = _Worker()
            self._workers.append(worker)
        assert worker is not None  # `_has_room`
        return worker

    def _bury(self, worker: _Worker, again: deque[_Given]) -> Iterator[Answer]:
        """Take what a dead worker left; the first was under way, unless it never lived."""
        self._workers.remove(worker)
        worker.stop()
        first, *rest = worker.calls
        if not worker.lived:
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                raise InputError(
                    f"a worker process must start, {STILLBORN} ended before they ran anything "
                    f"(exit code {worker.process.exitcode}); a script that runs a sweep needs "
                    "`if __name__ == '__main__':`"
                )
            rest.insert(0, first)
        elif first.deaths:
            yield Answer(first.call.tag, failure="the worker process that ran it died, twice")
        else:
            rest.insert(0, _Given(first.call, deaths=1))
        again.extend(rest)

    def _stop(self) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()


@dataclass(frozen=True)
class _Given:
    """A call, and how many workers have died running it."""

    call: Call
    deaths: int = 0


class _Worker:
    """A process that runs one call after another, seen from the parent."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        # Ctrl-C reaches the whole process group, but the parent is to stop its workers: the mask
        # is inherited, so they do not see it even while they start. Starting the tracker of
        # resources would lift the mask
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.calls: deque[_Given] = deque()  # the first is under way
        self.lived = False
        self._quick = self._dead = False

    @property
    def has_room(self) -> bool:
        return not self._dead and len(self.calls) < (AHEAD if self._quick else 1)

    def give(self, given: _Given) -> None:
        """Send a call.

        Raises:
            OSError: the process is dead.
            Exception: of any kind, the call cannot be pickled.
        """
        sent = ForkingPickler.dumps((given.call.function, given.call.arguments))
        try:
            self.pipe.send_bytes(sent)
        except OSError:
            self._dead = True
            raise
        self.calls.append(given)

    def listen(self) -> Iterator[Answer]:
        """Yield the answer that is there; the first thing a worker says is that it lives.

        Raises:
            EOFError, OSError: the process is dead.
        """
        said = self.pipe.recv()
        if not self.lived:
            self.lived = True
            return
        value, failure, seconds = said
        self._quick = seconds < QUICK
        yield Answer(self.calls.popleft().call.tag, value, failure, seconds)

    def stop(self) -> None:
        """End the process, whatever it does: nothing of it is needed any more."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection) -> None:
    """Run calls until the parent is gone: what a worker process does."""
    given: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, given), daemon=True).start()
    pipe.send(None)
    while True:
        value, failure, seconds = answer(_run, (given.get(),))
        try:
            said = ForkingPickler.dumps((value, failure, seconds))
        except Exception as error:  # of any kind: whatever the value's class raises
            said = ForkingPickler.dumps((None, f"{type(error).__name__}: {error}", seconds))
        pipe.send_bytes(said)


def _run(sent: bytes) -> Any:
    function, arguments = pickle.loads(sent)
    return function(*arguments)


def _receive(pipe: Connection, given: SimpleQueue[bytes]) -> None:
    """Take calls as they come: parent and worker never wait for each other to read.

    Ends the process as soon as its parent has ended, however it ended.
    """
    while True:
        try:
            given.put(pipe.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)
