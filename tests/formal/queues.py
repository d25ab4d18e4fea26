"""Queues and stores that assert that nothing meets them full that enters, or empty that leaves.

A proof puts them in place of a component's own (`monkeypatch.setattr`), so the component carries
no assertions. They count by themselves.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Const, Module, Value

from rtl.queue import Queue
from rtl.rows import Store, tally


class WatchedQueue(Queue):
    """A queue whose misuse breaks an assertion."""

    def __init__(self, m: Module, shape: Any, depth: int, name: str) -> None:
        super().__init__(m, shape, depth, name)
        never_misused(m, f"{name}_watch", depth, self.push, self.pop)


class ShortQueue(Queue):
    """One item shorter than its owner asked for: for broken variants."""

    def __init__(self, m: Module, shape: Any, depth: int, name: str) -> None:
        super().__init__(m, shape, depth - 1, name)


class ShortWatchedQueue(WatchedQueue):
    """A short queue whose misuse breaks an assertion."""

    def __init__(self, m: Module, shape: Any, depth: int, name: str) -> None:
        super().__init__(m, shape, depth - 1, name)


class WatchedStore(Store):
    """A store whose misuse breaks an assertion: places that are claimed, beats that are there."""

    def __init__(self, m: Module, name: str, layout: Any, depth: int) -> None:
        super().__init__(m, name, layout, depth)
        leaves = self.reads | self.skips
        never_misused(m, f"{name}_places", depth, self.claims, leaves)
        never_misused(m, f"{name}_watch", depth, self.writes, leaves)
        m.d.comb += Assert(~(self.reads & self.skips))


def never_misused(m: Module, name: str, depth: int, enters: Value, leaves: Value) -> None:
    """Assert that nothing enters what is full, and nothing leaves what is empty."""
    level = tally(m, name, depth, enters, leaves)
    m.d.comb += [Assert(~enters | (level != depth)), Assert(~leaves | (level != 0))]


def always_one(m: Module, name: str, limit: int, gains: Value, losses: Value) -> Value:
    """Stand in for `tally` in broken variants: a count that does not count."""
    return Const(1)
