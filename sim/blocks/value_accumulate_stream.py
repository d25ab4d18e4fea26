"""Timing of the running sums of attention in hardware, behind streams, with stalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.handshake import at, next_move
from sim.blocks.value_accumulate import QUOTIENT_BITS

SHIFT_CYCLES = 3
"""a block taken to its first sums taken"""
OUTPUT_STAGES = 4
"""registers from the memory of sums to the output"""
DIVIDE_CYCLES = 3 + QUOTIENT_BITS
"""a row's last sums taken to its first ones read back: 2 cycles to normalise, then a bit each"""


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
    """Return when everything moves.

    A block is taken the cycle after the last sums of the one before, or behind a row's end the
    cycle after its last outputs left; its sums from `SHIFT_CYCLES` later, a beat a cycle. Outputs
    follow one another as the sink takes them.

    Args:
        blocks: (beats of sums, whether it ends a row) of each.
        offer_block, offer_sums, ready: of the sources and the sink, by cycle.
    """
    moves = ValueAccumulateMoves([], [], [])
    free = 0
    for beats, ends in blocks:
        moves.blocks.append(next_move(offer_block, _after(moves.blocks), free))
        from_cycle = moves.blocks[-1] + SHIFT_CYCLES
        for _ in range(beats):
            moves.sums.append(next_move(offer_sums, _after(moves.sums), from_cycle))
            from_cycle = moves.sums[-1] + 1
        free = from_cycle
        if ends:
            offered = moves.sums[-1] + DIVIDE_CYCLES + OUTPUT_STAGES
            for _ in range(beats):
                while not at(ready, offered):
                    offered += 1
                moves.outputs.append(offered)
                offered += 1
            free = offered
    return moves


def _after(cycles: Sequence[int]) -> int:
    """Return the cycle after the last one, 0 when there is none."""
    return cycles[-1] + 1 if cycles else 0
