"""Timing of the running sums of attention in hardware, behind streams, with stalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.handshake import at
from sim.blocks.value_accumulate import QUOTIENT_BITS

SHIFT_CYCLES = 3
"""a block taken to its first sums taken"""
OUTPUT_STAGES = 4
"""registers from the memory of sums to the output"""
DIVIDE_CYCLES = 3 + QUOTIENT_BITS
"""a row's last sums taken to its first ones read back: 2 cycles to normalise, then a bit each"""


class ValueAccumulateTimes:
    """What the unit takes and offers in a cycle, as far as it is known.

    A block is taken the cycle after the last sums of the one before, or behind a row's end the
    cycle after its last outputs left; its sums from `SHIFT_CYCLES` later, a beat a cycle. Outputs
    follow one another as the sink takes them.

    Attributes: `blocks`, `sums`, `outputs`: cycles in which they moved.
    """

    def __init__(self) -> None:
        self.blocks: list[int] = []
        self.sums: list[int] = []
        self.outputs: list[int] = []
        self._free = 0  # from when a block is taken
        self._ends = False
        self._taken = 0  # beats of the block's sums
        self._adds: int | None = None  # from when sums are taken
        self._offered: int | None = None  # from when an output is
        self._waiting = 0  # outputs that have not left

    def ready(self, cycle: int) -> bool:
        """Tell whether a block is taken that is offered in a cycle."""
        return self._adds is None and self._offered is None and cycle >= self._free

    def take(self, cycle: int, ends: bool) -> None:
        """Note that a block is taken; `ends` its row."""
        self.blocks.append(cycle)
        self._adds, self._ends, self._taken = cycle + SHIFT_CYCLES, ends, 0

    def ready_for_sums(self, cycle: int) -> bool:
        """Tell whether sums are taken that are offered in a cycle."""
        return self._adds is not None and cycle >= self._adds

    def take_sums(self, cycle: int, last: bool) -> None:
        """Note that a beat of sums is taken; `last` of its block."""
        self.sums.append(cycle)
        self._taken += 1
        if last:
            self._adds, self._free = None, cycle + 1
            if self._ends:
                self._offered = cycle + DIVIDE_CYCLES + OUTPUT_STAGES
                self._waiting = self._taken

    def offers(self, cycle: int) -> bool:
        """Tell whether a beat of outputs is offered in a cycle."""
        return self._offered is not None and cycle >= self._offered

    def leave(self, cycle: int) -> None:
        """Note that the beat of outputs that is offered is taken."""
        self.outputs.append(cycle)
        self._waiting -= 1
        self._offered = cycle + 1 if self._waiting else None
        self._free = cycle + 1


class ValueAccumulateMoves(NamedTuple):
    """Cycles in which blocks and beats of sums entered, and beats of outputs left."""

    blocks: list[int]
    sums: list[int]
    outputs: list[int]


def value_accumulate_moves(
    blocks: Sequence[tuple[int, bool]],
    offer_block: Sequence[bool],
    offer_sums: Sequence[bool],
    ready: Sequence[bool],
) -> ValueAccumulateMoves:
    """Return when everything moves: see `ValueAccumulateTimes`.

    Args:
        blocks: (beats of sums, whether it ends a row) of each.
        offer_block, offer_sums, ready: of the sources and the sink, by cycle.
    """
    lasts = [number == beats - 1 for beats, _ in blocks for number in range(beats)]
    outputs = sum(beats for beats, ends in blocks if ends)
    times = ValueAccumulateTimes()
    offering = offering_sums = False
    cycle = 0
    while len(times.outputs) < outputs:
        offering = offering or (len(times.blocks) < len(blocks) and at(offer_block, cycle))
        offering_sums = offering_sums or (len(times.sums) < len(lasts) and at(offer_sums, cycle))
        if offering and times.ready(cycle):
            times.take(cycle, blocks[len(times.blocks)][1])
            offering = False
        elif offering_sums and times.ready_for_sums(cycle):
            times.take_sums(cycle, lasts[len(times.sums)])
            offering_sums = False
        elif times.offers(cycle) and at(ready, cycle):
            times.leave(cycle)
        cycle += 1
    return ValueAccumulateMoves(times.blocks, times.sums, times.outputs)
