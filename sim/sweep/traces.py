"""Traces of a sweep: each is made once and shared by all machine points."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sim.sweep.engine import Answer
from sim.sweep.point import TraceOrder, code_version, digest
from sim.sweep.space import Space
from sim.sweep.store import Store, no_room
from workloads.errors import InputError
from workloads.trace import Trace, write_trace

FOLDER = "traces"


class TraceMaker(Protocol):
    """Makes traces. It is sent to worker processes, so it must be picklable."""

    def check(self, space: Space) -> None:
        """Check workloads, methods and their fields.

        Raises:
            InputError: one is unknown.
        """

    def describe(self, order: TraceOrder) -> dict[str, Any]:
        """Return all that decides what the trace holds, resolved, as plain data.

        Raises:
            InputError: an impossible value.
        """

    def make(self, order: TraceOrder) -> Trace:
        """Return the trace; called in a worker.

        Raises:
            InputError: the method cannot run.
        """


@dataclass(frozen=True)
class Made:
    """A trace that is there, or why it is not."""

    key: str
    path: Path
    failure: str | None


def trace_key(description: Any) -> str:
    """Return the content address of a trace: of what decides it, and of the code."""
    return digest([code_version(), description])


def path_of(folder: Path, key: str) -> Path:
    """Return the folder of a trace in a sweep's folder, for workers in whatever folder they run."""
    return folder.absolute() / FOLDER / f"{key}.trace"


class Traces:
    """The traces of a store."""

    def __init__(self, store: Store, maker: TraceMaker, *, retry_failed: bool) -> None:
        self._store, self._maker, self._retry = store, maker, retry_failed
        self._known = store.traces()
        for unfinished in (store.folder / FOLDER).glob("*.partial"):
            shutil.rmtree(unfinished, ignore_errors=True)

    def look(self, order: TraceOrder) -> Made | None:
        """Return a trace that is there or cannot be; None: it is still to be made."""
        try:
            key = trace_key(self._maker.describe(order))
        except InputError as error:
            return Made(trace_key(repr(order)), Path(), str(error))
        path = path_of(self._store.folder, key)
        found = self._known.get(key)
        if found is None:
            return None
        again = self._retry if found["status"] == "failed" else not path.is_dir()
        return None if again else Made(key, path, found["reason"])

    def keep(self, reply: Answer) -> Made:
        """Keep what became of an order; the trace is there as a whole or not at all.

        Raises:
            InputError: no room for it.
        """
        description = self._maker.describe(reply.tag)
        key = trace_key(description)
        path = path_of(self._store.folder, key)
        if reply.failure is None:
            _write(reply.value, path)
        self._store.add_trace(key, description, reply.seconds, reply.failure)
        return Made(key, path, reply.failure)


def _write(trace: Trace, path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    try:
        write_trace(trace, path)
    except OSError as error:
        raise no_room(path, error) from error
