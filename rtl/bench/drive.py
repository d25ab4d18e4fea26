"""Drive and watch the streams of a design, cycle by cycle.

Inputs are set after the rising edge and everything is looked at on the falling edge, when it has
settled: what moves at a rising edge is what was valid and ready before it. Cycle 0 is the first
one after reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from sim.blocks.fetcher import MemoryTiming
from sim.blocks.handshake import at

PATTERNS = ("full", "random", "slow_source", "slow_sink")
"""How sources and sinks behave: always there, or with random stalls."""

_SHARES = {"full": (1.0, 1.0), "random": (0.5, 0.5), "slow_source": (0.15, 0.9),
           "slow_sink": (0.9, 0.15)}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Items for an input stream, and the cycles in which a new one may be offered.

    `after`: number of an item -> (stream, how many of its items must have moved before).
    """

    items: Sequence[int]
    offer: Sequence[bool] = ()
    after: Mapping[int, tuple[str, int]] = field(default_factory=dict)

    def may_offer(self, number: int, cycle: int, seen: Mapping[str, Seen]) -> bool:
        """Tell whether an item may be offered."""
        if number >= len(self.items) or not at(self.offer, cycle):
            return False
        stream, moved = self.after.get(number, ("", 0))
        return not stream or len(seen[stream].items) >= moved


@dataclass(frozen=True)
class Sink:
    """How many items an output stream must give, and the cycles in which it is ready."""

    items: int
    ready: Sequence[bool] = ()


@dataclass
class Seen:
    """What moved on one stream."""

    cycles: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)


class Memory:
    """Read ports `ar__N` and `r__N` of a design: each channel answers in order.

    `addresses` and `answers` hold, by channel, (cycle, address) and the cycles of what moved.
    """

    def __init__(self, channels: int, timing: MemoryTiming, read: Callable[[int], int]) -> None:
        self._channels, self._timing, self._read = range(channels), timing, read
        self.addresses: list[list[tuple[int, int]]] = [[] for _ in self._channels]
        self.answers: list[list[int]] = [[] for _ in self._channels]
        self._answering = [False for _ in self._channels]

    def connect(self, dut: Any) -> None:
        """Find the ports."""
        self._ar = [
            tuple(getattr(dut, f"ar__{c}__{part}") for part in ("valid", "ready", "payload"))
            for c in self._channels
        ]
        self._r = [
            tuple(getattr(dut, f"r__{c}__{part}") for part in ("valid", "ready", "payload"))
            for c in self._channels
        ]
        for valid, _, _ in self._r:
            valid.value = 0

    def drive(self, cycle: int) -> None:
        """Set the ports for this cycle."""
        for channel in self._channels:
            self._ar[channel][1].value = int(self._timing.accepts_at(channel, cycle))
            asked, given = self.addresses[channel], len(self.answers[channel])
            if not self._answering[channel] and given < len(asked):
                taken, address = asked[given]
                if taken + self._timing.latency_cycles <= cycle:
                    self._answering[channel] = self._timing.answers_at(channel, cycle)
                    if self._answering[channel]:
                        self._r[channel][2].value = self._read(address)
            self._r[channel][0].value = int(self._answering[channel])

    def look(self, cycle: int) -> None:
        """Note what moves at the end of this cycle."""
        for channel in self._channels:
            valid, _, payload = self._ar[channel]
            if int(valid.value) and self._timing.accepts_at(channel, cycle):
                self.addresses[channel].append((cycle, int(payload.value)))
            if self._answering[channel] and int(self._r[channel][1].value):
                self.answers[channel].append(cycle)
                self._answering[channel] = False


def stalls(random: np.random.Generator, pattern: str, cycles: int) -> tuple[list[bool], list[bool]]:
    """Return (offer, ready) by cycle, in bursts of a few cycles."""
    return tuple(_bursts(random, share, cycles) for share in _SHARES[pattern])  # type: ignore[return-value]


def _bursts(random: np.random.Generator, share: float, cycles: int) -> list[bool]:
    if share == 1.0:
        return []
    lengths = random.integers(1, 6, cycles)
    values = random.random(cycles) < share
    return list(np.repeat(values, lengths)[:cycles])


async def reset(dut: Any, sources: Iterable[str], sinks: Iterable[str]) -> None:
    """Start the clock and reset the design; nothing is offered or taken."""
    Clock(dut.clk, 2, "ns").start()
    dut.rst.value = 1
    for name in sources:
        getattr(dut, f"{name}__valid").value = 0
    for name in sinks:
        getattr(dut, f"{name}__ready").value = 0
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0


async def run(
    dut: Any,
    sources: Mapping[str, Source],
    sinks: Mapping[str, Sink],
    limit_cycles: int = 100_000,
    memory: Memory | None = None,
) -> dict[str, Seen]:
    """Reset the design, feed all sources and return what moved, when every sink has its items.

    Fails when that takes more than `limit_cycles`, or when a stream breaks the rule that an item
    which was offered stays until it is taken.
    """
    await reset(dut, sources, sinks)
    seen = {name: Seen() for name in (*sources, *sinks)}
    valid = {name: getattr(dut, f"{name}__valid") for name in seen}
    ready = {name: getattr(dut, f"{name}__ready") for name in seen}
    payload = {name: getattr(dut, f"{name}__payload") for name in seen}
    offering = dict.fromkeys(sources, False)
    waiting: dict[str, int | None] = dict.fromkeys(sinks)
    if memory is not None:
        memory.connect(dut)
    for cycle in range(limit_cycles):
        if memory is not None:
            memory.drive(cycle)
        for name, source in sources.items():
            done = len(seen[name].items)
            if not offering[name] and source.may_offer(done, cycle, seen):
                offering[name] = True
                payload[name].value = source.items[done]
            valid[name].value = int(offering[name])
        for name, sink in sinks.items():
            ready[name].value = int(at(sink.ready, cycle))
        await FallingEdge(dut.clk)
        if memory is not None:
            memory.look(cycle)
        for name, source in sources.items():
            if offering[name] and int(ready[name].value):
                seen[name].items.append(source.items[len(seen[name].items)])
                seen[name].cycles.append(cycle)
                offering[name] = False
        for name, sink in sinks.items():
            _look(name, sink, seen[name], valid[name], payload[name], waiting, cycle)
        if all(len(seen[name].items) >= sink.items for name, sink in sinks.items()):
            await RisingEdge(dut.clk)
            return seen
        await RisingEdge(dut.clk)
    missing = {name: sink.items - len(seen[name].items) for name, sink in sinks.items()}
    raise AssertionError(f"after {limit_cycles} cycles items are missing: {missing}")


async def accepted(dut: Any, items: Mapping[str, int], cycles: int) -> dict[str, int]:
    """Reset the design, offer the same item on each stream all the time, return how many move."""
    await reset(dut, items, ())
    counts = dict.fromkeys(items, 0)
    for name, item in items.items():
        getattr(dut, f"{name}__payload").value = item
        getattr(dut, f"{name}__valid").value = 1
    for _ in range(cycles):
        await FallingEdge(dut.clk)
        for name in items:
            counts[name] += int(getattr(dut, f"{name}__ready").value)
        await RisingEdge(dut.clk)
    return counts


def _look(
    name: str,
    sink: Sink,
    seen: Seen,
    valid: Any,
    payload: Any,
    waiting: dict[str, int | None],
    cycle: int,
) -> None:
    if not int(valid.value):
        assert waiting[name] is None, f"{name} withdrew an item in cycle {cycle}"
        return
    item = int(payload.value)
    assert waiting[name] in (None, item), f"{name} changed an item that waited in cycle {cycle}"
    if at(sink.ready, cycle):
        seen.items.append(item)
        seen.cycles.append(cycle)
        waiting[name] = None
    else:
        waiting[name] = item
