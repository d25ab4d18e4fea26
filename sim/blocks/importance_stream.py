"""Timing of the importance accumulators behind streams: rows, commands and what they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.blocks.accumulate import CLEAR, DUMP, HeadImportanceConfig, ImportanceConfig
from sim.blocks.handshake import Moves, at


class Command(NamedTuple):
    """Clear all sums, dump those of the first `tokens`, or load a row of others."""

    kind: int  # `accumulate.CLEAR`, `DUMP` or `LOAD`
    tokens: int = 0  # of a dump
    row: int = 0  # that is loaded
    sums: Sequence[int] = ()  # (lanes,) that are loaded


class ImportanceStalls(NamedTuple):
    """By cycle: whether the sources of rows and commands may offer, whether the sink is ready."""

    rows: Sequence[bool] = ()
    commands: Sequence[bool] = ()
    ready: Sequence[bool] = ()


class ImportanceMoves(NamedTuple):
    """Cycles in which rows and commands entered and rows left; rows taken before each command."""

    rows: list[int]
    commands: list[int]
    outputs: list[int]
    rows_before: list[int]


def dump_rows(config: ImportanceConfig, command: Command) -> int:
    """Rows that leave: at least one, which may be empty."""
    return max(1, -(-command.tokens // config.lanes))


def importance_moves(
    config: ImportanceConfig,
    lasts: Sequence[bool],
    commands: Sequence[Command],
    stalls: ImportanceStalls,
) -> ImportanceMoves:
    """Return when everything moves.

    A command goes first, but only between vectors. A clear takes ceil(tokens / lanes) cycles, and
    cycle 0 begins with one; a load takes only the cycle in which it is taken. The first row of a
    dump leaves 2 cycles after the command, and the next row or command is taken the cycle after
    the last one has left.

    Args:
        config: the accumulators.
        lasts: whether each row is the last of its vector; the last vector is complete.
        commands: in order.
        stalls: of the sources and the sink.
    """
    moves = ImportanceMoves([], [], [], [])
    offers_row = offers_command = inside = False
    cycle, busy_until = 0, _clear_cycles(config)
    while len(moves.rows) < len(lasts) or len(moves.commands) < len(commands):
        taken = len(moves.rows), len(moves.commands)
        offers_row = offers_row or (taken[0] < len(lasts) and at(stalls.rows, cycle))
        left = taken[1] < len(commands)
        offers_command = offers_command or (left and at(stalls.commands, cycle))
        if cycle >= busy_until and offers_command and not inside:
            offers_command = False
            moves.commands.append(cycle)
            moves.rows_before.append(taken[0])
            busy_until = _execute(config, commands[taken[1]], cycle, stalls.ready, moves.outputs)
        elif cycle >= busy_until and offers_row:
            offers_row = False
            moves.rows.append(cycle)
            inside = not lasts[taken[0]]
        cycle += 1
    return moves


def _clear_cycles(config: ImportanceConfig) -> int:
    return -(-config.tokens // config.lanes)


def _execute(
    config: ImportanceConfig,
    command: Command,
    cycle: int,
    ready: Sequence[bool],
    outputs: list[int],
) -> int:
    """Note when a command's rows leave; return the cycle from which others are taken."""
    if command.kind != DUMP:
        return cycle + 1 + (_clear_cycles(config) if command.kind == CLEAR else 0)
    cycle += 2
    for _ in range(dump_rows(config, command)):
        while not at(ready, cycle):
            cycle += 1
        outputs.append(cycle)
        cycle += 1
    return cycle


def head_importance_moves(
    config: HeadImportanceConfig,
    lasts: Sequence[bool],
    offer: Sequence[bool],
    ready: Sequence[bool],
) -> Moves:
    """Return when rows enter and sums leave a pipeline that stands still while a sum waits.

    Args:
        config: the accumulator.
        lasts: whether each row is the last of its head.
        offer, ready: of the source and the sink, by cycle.
    """
    stages = [False] * config.latency_cycles  # which hold a sum that is complete
    offering, cycle = False, 0
    moves = Moves([], [])
    while len(moves.emitted) < sum(lasts):
        offering = offering or (len(moves.accepted) < len(lasts) and at(offer, cycle))
        emits = stages[-1] and at(ready, cycle)
        if emits:
            moves.emitted.append(cycle)
        if emits or not stages[-1]:
            stages = [offering and lasts[len(moves.accepted)], *stages[:-1]]
            if offering:
                moves.accepted.append(cycle)
                offering = False
        cycle += 1
    return moves
