"""Bench of the token importance accumulators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.operands import draw
from rtl.bench.task import Task, read_task
from sim.blocks.accumulate import CLEAR, DUMP, LOAD, token_importance_golden
from sim.blocks.importance_stream import (
    Command,
    ImportanceMoves,
    ImportanceStalls,
    importance_moves,
)

ROWS = 400


@dataclass(frozen=True)
class Row:
    """Probabilities of tokens in sequence."""

    base: int
    data: Any  # (count,)
    last: bool


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Random rows at any base; between them clears, dumps of any length, loads; random stalls."""
    task = read_task()
    config, random = task.config, task.random(pattern)
    rows = [any_row(task, random, bool(random.random() < 0.3)) for _ in range(ROWS - 1)]
    rows.append(any_row(task, random, last=True))
    lengths = {0, 1, config.lanes, config.lanes + 1, config.tokens - 1, config.tokens}
    lengths |= set(random.integers(0, config.tokens + 1, 6).tolist())
    commands = [Command(DUMP, n) for n in lengths if 0 <= n <= config.tokens]
    commands += [Command(CLEAR)] * 2 + [any_load(task, random) for _ in range(8)]
    random.shuffle(commands)  # type: ignore[arg-type]
    horizon = 40 * ROWS + 20 * len(commands) * config.tokens
    offer, ready = stalls(random, pattern, horizon)
    seldom = (random.random(horizon) < 0.03).tolist()
    await check(dut, task, rows, [*commands, Command(DUMP, config.tokens)],
                ImportanceStalls(offer, seldom, ready))  # fmt: skip


@cocotb.test()
async def a_row_a_cycle_on_the_same_sums(dut: Any) -> None:
    """Rows that touch what the row before has touched come each cycle; sums reach their bound."""
    task = read_task()
    config, random = task.config, task.random("same sums")
    top = (1 << config.prob_bits) - 1
    count = min(config.lanes, config.tokens)
    bases = random.integers(0, min(3, config.tokens - count + 1), ROWS)
    rows = [Row(int(base), np.full(count, top), True) for base in bases]
    dumped = cleared = -(-config.tokens // config.lanes)
    wait = [False] * (cleared + ROWS + 5)
    commands = [Command(DUMP, config.tokens), Command(CLEAR), Command(DUMP, config.tokens)]
    moves = await check(dut, task, rows, commands, ImportanceStalls(commands=wait))
    assert moves.rows == list(range(cleared, cleared + ROWS))
    first = moves.commands[0] + 2
    assert moves.outputs[:dumped] == list(range(first, first + dumped))
    assert moves.commands[2] - moves.commands[1] == cleared + 1


@cocotb.test()
async def loads_and_rows_follow_each_other(dut: Any) -> None:
    """A load a cycle, then rows on what was loaded, at once; a load onto sums just added to."""
    task = read_task()
    config, random = task.config, task.random("loads")
    cleared = -(-config.tokens // config.lanes)
    loads = [any_load(task, random, row) for row in range(cleared)]
    rows = [any_row(task, random, last=True) for _ in range(4)]
    offer = [False] * 2 * cleared + [True] * 4
    commands = [False] * cleared + [True] * cleared + [False] * 4
    moves = await check(
        dut,
        task,
        rows,
        [*loads, any_load(task, random, 0), Command(DUMP, config.tokens)],
        ImportanceStalls(offer, commands),
    )
    assert moves.commands[: len(loads)] == list(range(cleared, 2 * cleared))
    assert moves.rows == list(range(2 * cleared, 2 * cleared + 4))


def any_load(task: Task, random: np.random.Generator, row: int | None = None) -> Command:
    """Return a load of random sums, small and large, into a row."""
    config = task.config
    if row is None:
        row = int(random.integers(0, -(-config.tokens // config.lanes)))
    top = (1 << int(random.integers(1, config.sum_bits + 1))) - 1
    return Command(LOAD, row=row, sums=draw(random, (config.lanes,), 0, top).tolist())


def any_row(task: Task, random: np.random.Generator, last: bool) -> Row:
    """Return a row of random place and length; half of the rows are near the first token."""
    config = task.config
    near = random.random() < 0.5
    base = int(random.integers(0, min(config.tokens, 2 * config.lanes) if near else config.tokens))
    count = int(random.integers(0, min(config.lanes, config.tokens - base) + 1))
    return Row(base, draw(random, (count,), 0, (1 << config.prob_bits) - 1), last)


async def check(
    dut: Any, task: Task, rows: list[Row], commands: list[Command], patterns: ImportanceStalls
) -> ImportanceMoves:
    """Run rows and commands; compare what leaves and every cycle; return the cycles."""
    config = task.config
    moves = importance_moves(config, [row.last for row in rows], commands, patterns)
    outputs = leaving(task, rows, commands, moves)
    packed = [pack_command(task, command) for command in commands]
    seen = await run(
        dut,
        {
            "i": Source([pack_row(task, row) for row in rows], patterns.rows),
            "command": Source(packed, patterns.commands),
        },
        {"o": Sink(len(outputs), patterns.ready)},
    )
    assert [task.unpack("o", bits) for bits in seen["o"].items] == outputs
    end = moves.outputs[-1]
    assert seen["i"].cycles == [cycle for cycle in moves.rows if cycle <= end]
    assert seen["command"].cycles == [cycle for cycle in moves.commands if cycle <= end]
    assert seen["o"].cycles == moves.outputs
    return moves


def pack_command(task: Task, command: Command) -> int:
    """Return a command as payload."""
    sums = command.sums or [0] * task.config.lanes
    fields = {"kind": command.kind, "count": command.tokens, "row": command.row, "sums": sums}
    return task.pack("command", fields)


def pack_row(task: Task, row: Row) -> int:
    """Return a row as payload; lanes beyond the count hold noise."""
    lanes = task.config.lanes
    noise = task.random("noise").integers(0, 1 << task.config.prob_bits, lanes)
    values = [*row.data.tolist(), *noise[len(row.data) :].tolist()]
    fields = {"data": values, "count": len(row.data), "base": row.base, "last": row.last}
    return task.pack("i", fields)


def leaving(
    task: Task, rows: list[Row], commands: list[Command], moves: ImportanceMoves
) -> list[dict[str, Any]]:
    """Return the rows that dumps must give."""
    config = task.config
    sums, added, found = np.zeros(config.tokens, np.int64), 0, []
    for command, before in zip(commands, moves.rows_before, strict=True):
        for row in rows[added:before]:
            part = slice(row.base, row.base + len(row.data))
            sums[part] = token_importance_golden(sums[part], row.data[None], config.sum_bits)
        added = before
        if command.kind == DUMP:
            found += dumped_rows(task, sums[: command.tokens].tolist())
        elif command.kind == CLEAR:
            sums[:] = 0
        else:
            part = sums[command.row * config.lanes :][: config.lanes]
            part[:] = command.sums[: len(part)]
    return found


def dumped_rows(task: Task, sums: list[int]) -> list[dict[str, Any]]:
    """Return sums as rows: at least one, which may be empty."""
    lanes = task.config.lanes
    parts = [sums[start : start + lanes] for start in range(0, len(sums), lanes)] or [[]]
    return [
        {
            "data": part + [0] * (lanes - len(part)),
            "count": len(part),
            "last": number == len(parts) - 1,
        }
        for number, part in enumerate(parts)
    ]
