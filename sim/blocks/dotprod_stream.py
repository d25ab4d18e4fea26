"""Timing of the multiplier arrays behind streams: lines meet the operand of their query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.handshake import at


class ArrayMoves(NamedTuple):
    """Cycles in which operands and lines entered and results left."""

    operands: list[int]
    lines: list[int]
    outputs: list[int]


class ArrayStalls(NamedTuple):
    """By cycle: whether the sources of operands and lines may offer, whether the sink is ready."""

    operands: Sequence[bool] = ()
    lines: Sequence[bool] = ()
    ready: Sequence[bool] = ()


def array_moves(
    lasts: Sequence[bool], latency_cycles: int, stalls: ArrayStalls, *, sums_lines: bool = False
) -> ArrayMoves:
    """Return when everything moves.

    A line waits in the input register until its operand is there and the pipeline behind moves,
    which it does unless an output waits. The next operand is taken as the last line of the one
    before goes on, at the earliest.

    Args:
        lasts: whether each line is the last of its operand.
        latency_cycles: registers between line and output, at least 2.
        stalls: of the sources and the sink.
        sums_lines: only last lines give an output; else every line does.
    """
    stages = [False] * (latency_cycles - 1)  # which hold an output
    wanted = sum(lasts) if sums_lines else len(lasts)
    operands = sum(lasts)
    offers_operand = offers_line = have = False
    entered: bool | None = None  # `last` of the line in the input register
    moves, cycle = ArrayMoves([], [], []), 0
    while len(moves.outputs) < wanted:
        left = len(moves.operands) < operands
        offers_operand = offers_operand or (left and at(stalls.operands, cycle))
        left = len(moves.lines) < len(lasts)
        offers_line = offers_line or (left and at(stalls.lines, cycle))
        leaves = stages[-1] and at(stalls.ready, cycle)
        runs = leaves or not stages[-1]
        takes = have and entered is not None and runs
        ends = takes and bool(entered)
        if leaves:
            moves.outputs.append(cycle)
        if runs:
            stages = [takes and (ends or not sums_lines), *stages[:-1]]
        if entered is None or takes:
            entered = bool(lasts[len(moves.lines)]) if offers_line else None
            if offers_line:
                moves.lines.append(cycle)
                offers_line = False
        if ends or not have:
            have = offers_operand
            if offers_operand:
                moves.operands.append(cycle)
                offers_operand = False
        cycle += 1
    return moves
