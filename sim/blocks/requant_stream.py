"""Timing of the requantisation decision in hardware, behind streams, with stalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.handshake import at, next_move
from sim.blocks.requant import RequantUnitConfig


class RequantRow(NamedTuple):
    """A row: its probabilities in number, and whether it is recomputed."""

    length: int
    recompute: bool


class RequantMoves(NamedTuple):
    """Cycles in which requests and beats entered, decisions and beats left."""

    requests: list[int]
    rows: list[int]
    decisions: list[int]
    outputs: list[int]


def requant_moves(
    config: RequantUnitConfig,
    rows: Sequence[RequantRow],
    offer_request: Sequence[bool],
    offer: Sequence[bool],
    decision_ready: Sequence[bool],
    ready: Sequence[bool],
) -> RequantMoves:
    """Return when everything moves.

    A request is taken once the row before has ended, its row's beats from the next cycle on, when
    a place is free, the cycle after another beat was read. The cycle after the last beat
    the decision can be taken. Then the row is read, a beat a cycle: beats that are dropped at
    once, others when the output is free or about to be, and they leave a cycle later.

    Without stalls outside a beat is taken in every cycle, whatever the rows' lengths.

    Args:
        config: the unit.
        rows: in order; lengths from 1 to fifo_rows * lanes.
        offer_request, offer, decision_ready, ready: of the sources and sinks, by cycle.
    """
    requests: list[int] = []
    taken: list[int] = []
    decisions: list[int] = []
    read: list[int] = []
    left: list[int] = []
    for row in rows:
        beats = -(-row.length // config.lanes)
        request = next_move(offer_request, _after(requests), taken[-1] if taken else 0)
        requests.append(request)
        for _ in range(beats):
            place = len(taken) - config.store_depth
            free = read[place] + 1 if place >= 0 else 0
            taken.append(next_move(offer, _after(taken), max(request + 1, free)))
        decision = max(taken[-1] + 1, _after(decisions))
        decisions.append(_first(decision_ready, decision))
        for _ in range(beats):
            reads = max(decisions[-1] + 1, _after(read))
            if not row.recompute:
                reads = max(reads, _after(left) - 1)
                left.append(_first(ready, reads + 1))
            read.append(reads)
    return RequantMoves(requests, taken, decisions, left)


def _after(cycles: Sequence[int]) -> int:
    """Return the cycle after the last one, 0 when there is none."""
    return cycles[-1] + 1 if cycles else 0


def _first(ready: Sequence[bool], cycle: int) -> int:
    """Return the first cycle from one on in which a sink is ready."""
    while not at(ready, cycle):
        cycle += 1
    return cycle
