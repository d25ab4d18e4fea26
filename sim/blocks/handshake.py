"""When items move through ready/valid streams: timing shared by the models of many blocks.

A stream moves an item in each cycle in which its source offers one and its sink is ready. Patterns
are arrays of booleans by cycle; beyond their end they are true. A source that has begun to offer
an item keeps offering it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Moves(NamedTuple):
    """Cycles in which items entered and left."""

    accepted: list[int]
    emitted: list[int]


def at(pattern: Sequence[bool], cycle: int) -> bool:
    """Return a pattern's value; true beyond its end."""
    return bool(pattern[cycle]) if cycle < len(pattern) else True


def next_move(offer: Sequence[bool], offered_from: int, taken_from: int) -> int:
    """Return when an item moves that may be offered from one cycle on and taken from another."""
    cycle = offered_from
    while not at(offer, cycle):
        cycle += 1
    return max(cycle, taken_from)


def pipeline_moves(
    items: int, latency_cycles: int, offer: Sequence[bool], ready: Sequence[bool]
) -> Moves:
    """Return when items pass a pipeline that stands still as a whole while its output waits.

    Args:
        items: how many are offered, one after another.
        latency_cycles: registers between input and output, at least 1.
        offer, ready: of the source and the sink, by cycle.
    """
    stages = [False] * latency_cycles
    offering, cycle = False, 0
    moves = Moves([], [])
    while len(moves.emitted) < items:
        offering = offering or (len(moves.accepted) < items and at(offer, cycle))
        emits = stages[-1] and at(ready, cycle)
        if emits:
            moves.emitted.append(cycle)
        if emits or not stages[-1]:
            stages = [offering, *stages[:-1]]
            if offering:
                moves.accepted.append(cycle)
                offering = False
        cycle += 1
    return moves
