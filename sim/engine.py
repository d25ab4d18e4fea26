"""Between engines: an integer clock, bounded channels and buffer space, on SimPy.

Inside an engine time is a recurrence over items, in numba; SimPy only moves operations from
engine to engine. An uncontended put, get or acquire costs no event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

import simpy

Wait = Generator[simpy.Event, Any, Any]


class Channel:
    """A bounded queue: a producer waits while it is full, a consumer while it is empty."""

    def __init__(self, env: simpy.Environment, capacity: int) -> None:
        self._env = env
        self._capacity = capacity
        self._items: deque[Any] = deque()
        self._waiting: simpy.Event | None = None

    @property
    def empty(self) -> bool:
        return not self._items

    def put(self, item: Any) -> Wait:
        while len(self._items) >= self._capacity:
            yield self._pause()
        self._items.append(item)
        self._wake()

    def get(self) -> Wait:
        while not self._items:
            yield self._pause()
        item = self._items.popleft()
        self._wake()
        return item

    def _pause(self) -> simpy.Event:
        self._waiting = self._env.event()
        return self._waiting

    def _wake(self) -> None:
        event, self._waiting = self._waiting, None
        if event is not None:
            event.succeed()


class Space:
    """Room in a buffer, allocated in order: so many rows, by so many owners, at a time."""

    def __init__(self, env: simpy.Environment, rows: int, owners: int) -> None:
        self._env = env
        self._rows = rows
        self._owners = owners
        self._waiting: simpy.Event | None = None

    def acquire(self, rows: int) -> Wait:
        """Wait until there is room, then take it. One process acquires at a time."""
        while rows > self._rows or not self._owners:
            self._waiting = self._env.event()
            yield self._waiting
        self._rows -= rows
        self._owners -= 1

    def release_at(self, cycle: int, rows: int) -> None:
        """Give rows back at an absolute cycle, now or later."""
        timeout = self._env.timeout(max(0, cycle - int(self._env.now)))
        timeout.callbacks.append(lambda _event: self._release(rows))

    def _release(self, rows: int) -> None:
        self._rows += rows
        self._owners += 1
        event, self._waiting = self._waiting, None
        if event is not None:
            event.succeed()


def wait_until(env: simpy.Environment, cycle: int) -> Wait:
    """Let a process sleep until an absolute cycle; no event when it has come already."""
    if cycle > env.now:
        yield env.timeout(cycle - int(env.now))
