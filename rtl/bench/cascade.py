"""Bench of the cascade controller: rows, lists and selections against the golden state."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.operands import draw
from rtl.bench.task import Task, read_task, unpack
from rtl.bench.watch import note
from sim.blocks.cascade import HEADS, SELECT_HEADS, SELECT_TOKENS, TOKENS, CascadeConfig, Kept
from sim.blocks.cascade_stream import (
    CascadeMoves,
    CascadeStalls,
    Command,
    OutputRow,
    cascade_moves,
    first_idle,
)
from sim.blocks.topk_stream import Selection, passes_cycles

QUERIES, HEADS_RUN, COMMANDS = 30, 40, 60
HORIZON = 100_000


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Queries and outputs of all lengths, and between them lists and selections of all kinds."""
    task = read_task()
    config, random = task.config, task.random(pattern)
    commands = [*whole_lists(config, random)]
    commands += [any_command(config, random) for _ in range(COMMANDS)]
    await check(
        dut,
        task,
        pattern,
        [query_rows(config, random) for _ in range(QUERIES)],
        [row for _ in range(HEADS_RUN) for row in output_rows(config, random)],
        [*commands, Command(SELECT_TOKENS, count=config.tokens, keep=config.tokens)],
    )


@cocotb.test()
async def sums_stay_at_their_bound(dut: Any) -> None:
    """Sums near the largest number, then rows; all tokens and all heads are kept and shown."""
    task = read_task()
    config, random = task.config, task.random("bound")
    top = (1 << config.importance_bits) - 1
    near = [top - int(random.integers(0, 3)) for _ in range(config.lanes)]
    names = list(range(config.lanes))
    lists = [Command(TOKENS, row, names, near) for row in range(config.list_rows)]
    alive = [1] * config.lanes
    lists += [Command(HEADS, row, (), near, alive) for row in range(config.head_rows)]
    keep_all = [
        Command(SELECT_TOKENS, count=config.tokens, keep=config.tokens),
        Command(SELECT_HEADS, keep=config.heads),
    ]
    ones = np.ones(config.rows, np.int64) * ((1 << config.prob_bits) - 1)
    low = np.full(config.channels, -(1 << (config.value_bits - 1)))
    after = [False] * (first_idle(config) + len(lists))
    gate = after + [False] * 8 + [True]
    await check(
        dut,
        task,
        "full",
        [[ones]] * 2,
        [OutputRow(low, head, True) for head in range(config.heads)],
        [*lists, *keep_all],
        CascadeStalls(after, after, [True] * len(after) + gate[len(after) :]),
    )


@cocotb.test()
async def a_selection_is_as_fast_as_its_engine(dut: Any) -> None:
    """From the command on: load, passes, filter; lists, and the next command, at once."""
    task = read_task()
    config, random = task.config, task.random("fast")
    commands = whole_lists(config, random)
    commands += [Command(SELECT_TOKENS, count=config.tokens, keep=0), Command(SELECT_HEADS, keep=1)]
    moves = await check(dut, task, "full", [], [], commands)
    first = first_idle(config)
    lists = config.list_rows + config.head_rows
    assert moves.command[: lists + 1] == list(range(first, first + lists + 1))
    passes = passes_cycles(config.topk, Selection(moves.selections[0].scores, 0))
    assert moves.command[lists + 1] - moves.command[lists] == 2 * config.list_rows + 7 + passes


@cocotb.test()
async def what_does_not_fit_is_refused(dut: Any) -> None:
    """A row beyond the list or the heads, too many tokens: taken, refused, nothing changes."""
    task = read_task()
    config = task.config
    payload = task.layouts["command"]
    wrong = []
    rows = 1 << payload["row"].width
    if rows > config.list_rows:
        wrong.append(Command(TOKENS, rows - 1, [0] * config.lanes, [1] * config.lanes))
    if rows > config.head_rows:
        wrong.append(Command(HEADS, rows - 1, (), [1] * config.lanes, [0] * config.lanes))
    if 1 << payload["count"].width > config.tokens + 1:
        wrong.append(Command(SELECT_TOKENS, count=config.tokens + 1, keep=1))
    seen: list[int] = []
    cocotb.start_soon(note(dut, "refused", seen))
    commands = [*whole_lists(config, task.random("right")), *wrong]
    keep_all = Command(SELECT_TOKENS, count=config.tokens, keep=config.tokens)
    golden = cascade_moves(config, [], [], [*commands[: -len(wrong) or None], keep_all], _NO_STALLS)
    found = await run(
        dut,
        {"command": Source([pack_command(task, one) for one in [*commands, keep_all]])},
        {"kept": Sink(len(golden.kept))},
    )
    assert sum(seen) == len(wrong)
    kept = [task.unpack("kept", bits) for bits in found["kept"].items]
    assert kept == kept_rows(config, golden.selections)


@cocotb.test()
async def a_row_of_the_list_is_read_at_once(dut: Any) -> None:
    """Every row of a list of all tokens, in the cycle in which it is asked for."""
    task = read_task()
    config = task.config
    lists = whole_lists(config, task.random("row"))[: config.list_rows]
    await run(
        dut,
        {"command": Source([pack_command(task, one) for one in [*lists, Command(SELECT_HEADS)]])},
        {"kept": Sink(1)},
    )
    layout = task.component.signature.members["row_numbers"].shape
    for row, command in enumerate(lists):
        dut.row.value = row
        await FallingEdge(dut.clk)
        found = int(dut.row_numbers.value)
        await RisingEdge(dut.clk)
        assert unpack(layout, found) == list(command.numbers)


_NO_STALLS = CascadeStalls()


async def check(
    dut: Any,
    task: Task,
    pattern: str,
    queries: list[list[Any]],
    outputs: list[OutputRow],
    commands: list[Command],
    given: CascadeStalls | None = None,
) -> CascadeMoves:
    """Run everything; compare what is kept and every cycle; return the cycles."""
    config, random = task.config, task.random(pattern + " stalls")
    if given is None:
        offers = [stalls(random, pattern, HORIZON) for _ in range(3)]
        seldom = np.repeat(random.random(HORIZON) < 0.1, 2)[:HORIZON].tolist()
        given = CascadeStalls(
            offers[0][0], offers[1][0], seldom if pattern != "full" else [], offers[2][1]
        )
    moves = cascade_moves(config, queries, outputs, commands, given)
    rows = [(row, row is query[-1]) for query in queries for row in query]
    expected = kept_rows(config, moves.selections)
    seen = await run(
        dut,
        {
            "probabilities": Source(
                [_pack_probabilities(task, row, last) for row, last in rows], given.probabilities
            ),
            "outputs": Source([_pack_output(task, row) for row in outputs], given.outputs),
            "command": Source([pack_command(task, one) for one in commands], given.command),
        },
        {"kept": Sink(len(expected), given.kept)},
        HORIZON,
    )
    assert [task.unpack("kept", bits) for bits in seen["kept"].items] == expected
    end = moves.kept[-1]
    for name in ("probabilities", "outputs", "command", "kept"):
        assert seen[name].cycles == [c for c in getattr(moves, name) if c <= end], name
    return moves


def kept_rows(config: CascadeConfig, selections: list[Kept]) -> list[dict[str, Any]]:
    """Return the rows that selections must give."""
    zeros = [0] * config.lanes
    return [
        {
            "number": (numbers.tolist() + zeros)[: config.lanes],
            "importance": (importance.tolist() + zeros)[: config.lanes],
            "count": len(numbers),
            "last": place == len(kept.rows) - 1,
        }
        for kept in selections
        for place, (numbers, importance) in enumerate(kept.rows)
    ]


def whole_lists(config: CascadeConfig, random: np.random.Generator) -> list[Command]:
    """Return the commands that list all tokens in random order, and all heads."""
    numbers = random.permutation(config.tokens)
    lists = []
    for row in range(config.list_rows):
        part = numbers[row * config.lanes :][: config.lanes].tolist()
        lists.append(Command(TOKENS, row, part, _sums(config, random)))
    for row in range(config.head_rows):
        lists.append(Command(HEADS, row, (), _sums(config, random), [1] * config.lanes))
    return lists


def any_command(config: CascadeConfig, random: np.random.Generator) -> Command:
    """Return a random command; selections are as frequent as lists."""
    kind = int(random.integers(0, 4))
    limit = config.list_rows if kind == TOKENS else config.head_rows
    largest = config.tokens if kind == SELECT_TOKENS else config.heads
    return Command(
        kind,
        int(random.integers(0, limit)),
        random.integers(0, config.tokens, config.lanes).tolist(),
        _sums(config, random),
        random.integers(0, 2, config.lanes).tolist(),
        int(random.integers(0, config.tokens + 1)),
        int(random.integers(0, largest + 1)),
    )


def _sums(config: CascadeConfig, random: np.random.Generator) -> list[int]:
    """Return a row of sums, often small ones, so that there are ties."""
    top = (1 << config.importance_bits) - 1
    return random.integers(0, [4, top + 1][int(random.integers(0, 2))], config.lanes).tolist()


def query_rows(config: CascadeConfig, random: np.random.Generator) -> list[Any]:
    """Return a query's probabilities over 1 to all tokens, in rows."""
    keys = int(random.integers(1, config.tokens + 1))
    row = draw(random, (keys,), 0, (1 << config.prob_bits) - 1)
    return [row[first : first + config.rows] for first in range(0, keys, config.rows)]


def output_rows(config: CascadeConfig, random: np.random.Generator) -> list[OutputRow]:
    """Return a head's outputs of 1 to 4 queries."""
    half = 1 << (config.value_bits - 1)
    head, queries = int(random.integers(0, config.heads)), int(random.integers(1, 5))
    data = draw(random, (queries, config.channels), -half, half - 1)
    return [OutputRow(row, head, place == queries - 1) for place, row in enumerate(data)]


def pack_command(task: Task, command: Command) -> int:
    """Return a command as payload."""
    return task.pack("command", command_fields(task.config, command))


def command_fields(config: CascadeConfig, command: Command) -> dict[str, Any]:
    """Return a command's fields; those that its kind does not have are zero."""
    zeros = [0] * config.lanes
    return {
        "kind": command.kind,
        "row": command.row,
        "numbers": command.numbers or zeros,
        "importance": command.importance or zeros,
        "alive": sum(bit << lane for lane, bit in enumerate(command.alive)),
        "count": command.count,
        "keep": command.keep,
    }


def _pack_probabilities(task: Task, row: Any, last: bool) -> int:
    """Return a row as payload; lanes beyond the count hold noise."""
    config = task.config
    noise = task.random("noise").integers(0, 1 << config.prob_bits, config.rows)
    values = [*row.tolist(), *noise[len(row) :].tolist()]
    return task.pack("probabilities", {"data": values, "count": len(row), "last": last})


def _pack_output(task: Task, row: OutputRow) -> int:
    fields = {"data": row.data.tolist(), "head": row.head, "last": row.last}
    return task.pack("outputs", fields)
