"""Timing of the softmax unit in hardware, behind streams: one row after another, with stalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.handshake import at, next_move
from sim.blocks.softmax import SoftmaxUnitConfig

MAXIMUM_CYCLES = 2
"""last beat of a row taken to its first beat read back"""
SCALE_STAGES = 3
"""registers from the exponentials' memory to the output"""


class SoftmaxMoves(NamedTuple):
    """Cycles in which requests and beats entered and beats left."""

    requests: list[int]
    rows: list[int]
    outputs: list[int]


def division_cycles(config: SoftmaxUnitConfig) -> int:
    """Last beat of a row read back to the first beat of its exponentials read."""
    return config.prob_bits + 22


def softmax_latency(config: SoftmaxUnitConfig, n: int) -> int:
    """Cycles from the last beat of a row to its first probabilities, without stalls.

    Args:
        config: the unit.
        n: beats of the row, when no other row is in the unit.
    """
    return MAXIMUM_CYCLES + (n - 1) + division_cycles(config) + SCALE_STAGES


def softmax_moves(
    config: SoftmaxUnitConfig,
    row_lengths: Sequence[int],
    offer_request: Sequence[bool],
    offer: Sequence[bool],
    ready: Sequence[bool],
) -> SoftmaxMoves:
    """Return when everything moves.

    A request is taken once the row before has ended, its row's beats from the next cycle on. A
    beat passes four points, at each at most one a cycle:

    - taken: when a place of the score memory is free, the cycle after another was read;
    - read back: `MAXIMUM_CYCLES` after its row's last beat, when the exponential memory has a
      place, the cycle after another was scaled;
    - scaled: `division_cycles` after its row's last beat was read back, when one of the
      `SCALE_STAGES` is free, as it is in the cycle in which another beat leaves;
    - leaves: `SCALE_STAGES` later, when the sink is ready.

    Without stalls outside a beat is taken in every cycle, whatever the rows' lengths.

    Args:
        config: the unit.
        row_lengths: (rows,) elements of each row, 1 to `fifo_elements`.
        offer_request, offer, ready: of the sources and the sink, by cycle.
    """
    requests: list[int] = []
    taken: list[int] = []
    read: list[int] = []
    scaled: list[int] = []
    left: list[int] = []
    for length in row_lengths:
        beats = config.cycles(length)
        request = next_move(offer_request, _after(requests), taken[-1] if taken else 0)
        requests.append(request)
        for _ in range(beats):
            place = _after(read, len(taken) - config.score_depth)
            taken.append(next_move(offer, _after(taken), max(request + 1, place)))
        for _ in range(beats):
            place = _after(scaled, len(read) - config.exponential_depth)
            read.append(max(taken[-1] + MAXIMUM_CYCLES, _after(read), place))
        for _ in range(beats):
            free = _after(left, len(scaled) - SCALE_STAGES) - 1
            scaled.append(max(read[-1] + division_cycles(config), _after(scaled), free))
            leaves = max(scaled[-1] + SCALE_STAGES, _after(left))
            while not at(ready, leaves):
                leaves += 1
            left.append(leaves)
    return SoftmaxMoves(requests, taken, left)


def _after(cycles: Sequence[int], number: int | None = None) -> int:
    """Return the cycle after that of an item, by default the last; 0 for one before the first."""
    number = len(cycles) - 1 if number is None else number
    return cycles[number] + 1 if number >= 0 else 0
