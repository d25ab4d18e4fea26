"""Rows of several beats, for blocks that must see a whole row before any of it leaves.

A row's elements move in beats of `lanes` elements, the last of them marked. A block takes one
request for each row, before the row.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.memory import Memory


def tally(m: Module, name: str, limit: int, gains: Value, losses: Value) -> Signal:
    """Return how many things are there, from 0 to `limit`; a gain or loss counts a cycle later."""
    level = Signal(range(limit + 1), name=name)
    m.d.sync += level.eq(level + gains - losses)
    return level


def ring(m: Module, name: str, depth: int, moves: Value) -> Signal:
    """Return a place from 0 to depth - 1 that moves on by one, and behind the last to 0."""
    place = Signal(range(depth), name=name)
    with m.If(moves):
        m.d.sync += place.eq(Mux(place == depth - 1, 0, place + 1))
    return place


def largest(elements: list[Any], count: Value, least: int) -> Value:
    """Return the largest of the first `count` elements, `least` for none: a tree."""
    terms = [Mux(count > lane, element, least) for lane, element in enumerate(elements)]
    while len(terms) > 1:
        pairs = [larger(a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
    return terms[0]


def larger(first: Value, second: Value) -> Value:
    """Return the larger of two values."""
    return Mux(first > second, first, second)


class Intake:
    """Takes a request, then the beats of its row.

    A request is held until its row's last beat; in the cycle of this beat the next one is taken. A
    row of more than `limit` beats is not taken: the stream's `ready` stays low behind them.

    Attributes: `request` that is held; `takes`: a beat moves; `first`, `last`: it begins, ends its
    row.
    """

    def __init__(self, m: Module, request: Any, beats: Any, room: Value, limit: int) -> None:
        self.request = Signal(request.payload.shape(), name="held_request")
        self.takes, self.first, self.last = Signal(name="takes"), Signal(name="first"), Signal()
        held = Signal(name="request_held")
        count = Signal(range(limit + 1), name="beats_taken")
        ends = self.takes & self.last
        m.d.comb += [
            self.first.eq(count == 0),
            self.last.eq(beats.payload.last),
            beats.ready.eq(held & room & (count != limit)),
            self.takes.eq(beats.valid & beats.ready),
            request.ready.eq(~held | ends),
        ]
        with m.If(self.takes):
            m.d.sync += count.eq(Mux(self.last, 0, count + 1))
        with m.If(request.ready):
            m.d.sync += [held.eq(request.valid), self.request.eq(request.payload)]


class Store:
    """A memory that beats enter and leave in order, each a field `last` among others.

    A place may be claimed before its beat is written, and is free the cycle after it was read.

    Attributes: `room`: a place is free. To be driven: `claims` a place, `writes` what is
    `entering`, `reads` a beat or `skips` it. `leaving`: the beat read last, from the cycle after;
    `ends`: the beat to be read or skipped next is the last of its row.
    """

    def __init__(self, m: Module, name: str, layout: Any, depth: int) -> None:
        self.claims, self.writes, self.reads, self.skips = (
            Signal(name=f"{name}_{action}") for action in ("claims", "writes", "reads", "skips")
        )
        leaves = self.reads | self.skips
        self.entering = Signal(layout, name=f"{name}_entering")
        self.room, self.ends = Signal(name=f"{name}_room"), Signal(name=f"{name}_ends")
        level = tally(m, f"{name}_level", depth, self.claims, leaves)
        tail = ring(m, f"{name}_tail", depth, self.writes)
        head = ring(m, f"{name}_head", depth, leaves)
        beats = Table(m, f"{name}_beats", layout, depth)
        ends = Table(m, f"{name}_ends", 1, depth, read_domain="comb")
        for table in (beats, ends):
            m.d.comb += [table.write.addr.eq(tail), table.write.en.eq(self.writes)]
            m.d.comb += table.read.addr.eq(head)
        m.d.comb += [
            self.room.eq(level != depth),
            beats.write.data.eq(self.entering),
            beats.read.en.eq(self.reads),
            ends.write.data.eq(self.entering.last),
            self.ends.eq(ends.read.data),
        ]
        self.leaving = beats.read.data


class Table:
    """A memory with a port to write and one to read, a cycle later or (`comb`) at once."""

    def __init__(
        self, m: Module, name: str, shape: Any, depth: int, read_domain: str = "sync"
    ) -> None:
        memory = Memory(shape=shape, depth=depth, init=[])
        m.submodules[name] = memory
        self.write, self.read = memory.write_port(), memory.read_port(domain=read_domain)
