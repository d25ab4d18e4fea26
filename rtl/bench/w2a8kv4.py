"""Bench of the W2A8KV4 engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, run, stalls
from rtl.bench.operands import draw
from rtl.bench.task import Task, read_task
from rtl.bench.w2a8kv4_attention import Head, items_of, lanes_of, some_head
from sim.blocks.w2a8kv4 import GROUP, Linear, check_linear, linear_outputs
from sim.blocks.w2a8kv4_attention_stream import AttentionPath
from sim.blocks.w2a8kv4_stream import LinearPath, LinearStalls, Work, run_halves

LARGEST = 0x3BFF  # FP16: the largest number below 1


_LINEAR = ("load", "command", "weights")
_ROWS = {"row": "command", "query": "query", "beats": "beats", "tokens": "tokens"}
"""Streams of attention -> what the timing of that half calls them."""


@dataclass(frozen=True)
class Command:
    """A matrix, and where its activations lie."""

    given: Linear
    base: int
    blocks: int


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Vectors, matrices and rows of attention take turns, with random stalls."""
    task = read_task()
    random, config = task.random(pattern), task.config
    commands, base = [], 0
    for number in range(8):
        tokens = 1 if number % 2 else 2 * int(random.integers(1, config.pairs + 1))
        pairs = max(tokens // 2, 1)
        most = min((config.lines - base) // pairs, 5)
        if most < 1:
            break
        groups = int(random.integers(1, most + 1))
        blocks = int(random.integers(1, 4))
        commands.append(drawn(task, random, tokens, groups, blocks, base))
        base += groups * pairs
    random.shuffle(commands)  # type: ignore[arg-type]
    await check(dut, task, pattern, commands, some_rows(task, random))


@cocotb.test()
async def a_beat_a_cycle(dut: Any) -> None:
    """Vectors: rows and commands follow each other without a gap."""
    task = read_task()
    random, groups = task.random("vectors"), min(3, task.config.lines)
    sizes = [(groups, 4), (1, 3), (groups, 2)]
    commands = [drawn(task, random, 1, groups, blocks, 0) for groups, blocks in sizes]
    x = commands[0].given.activations
    for command in commands:
        command.given.activations[:] = x[:, : command.given.activations.shape[1]]
    seen = await check(dut, task, "full", commands)
    first, beats = seen["weights"].cycles[1], sum(groups * blocks for groups, blocks in sizes)
    assert seen["weights"].cycles[1:] == list(range(first, first + beats - 1))


@cocotb.test()
async def two_cycles_a_pair(dut: Any) -> None:
    """Matrices: a beat is held for two cycles a pair of tokens, a vector follows at once."""
    task = read_task()
    random, pairs = task.random("matrices"), task.config.pairs
    groups = max(1, min(2, task.config.lines // pairs - 1))
    commands = [
        drawn(task, random, 2 * pairs, groups, 2, 0),
        drawn(task, random, 1, 1, 3, task.config.lines - 1),
    ]
    seen = await check(dut, task, "full", commands)
    taken = seen["weights"].cycles[1:]
    gaps = [2 * pairs] * (2 * groups - 1) + [1] * 2
    assert np.diff(taken).tolist()[: len(gaps)] == gaps


@cocotb.test()
async def rows_wait_for_matrices(dut: Any) -> None:
    """A row that comes while a matrix runs is multiplied behind it, and a matrix behind a row."""
    task = read_task()
    random, config = task.random("turns"), task.config
    groups = min(3, config.lines)
    commands = [drawn(task, random, 1, groups, 8, 0)]
    head = some_head(random, 2 * config.block, config.attention.channels)
    seen = await check(dut, task, "full", commands, [head])
    assert seen["beats"].cycles[0] > seen["weights"].cycles[-1] or (
        seen["weights"].cycles[1] > seen["beats"].cycles[-1]
    )


@cocotb.test()
@cocotb.parametrize(more=range(-2, 4))
async def rows_wait_for_steps_that_stand_still(dut: Any, more: int) -> None:
    """A matrix's last steps stand still in front of the array, for its sums are not taken."""
    task = read_task()
    random, config = task.random("still"), task.config
    blocks = config.latency_cycles + more
    commands = [drawn(task, random, 1, 1, blocks, 0)]
    head = some_head(random, 3, config.attention.channels)
    await check(dut, task, "full", commands, [head], ready=[False] * 100)


@cocotb.test()
async def largest_operands(dut: Any) -> None:
    """All weights and activations at their ends: no lane and no sum overflows."""
    task = read_task()
    random, config = task.random("largest"), task.config
    commands, base = [], 0
    for tokens in (1, 2, 1, 2):
        for sign in (-127, 127):
            if base == config.lines:
                break
            command = drawn(task, random, tokens, 1, 2, base)
            given = command.given
            given.activations[:] = sign
            given.activations[-1] = -sign if tokens == 2 else sign
            given.codes[:] = 3
            given.zeros[:] = 3 * (base % 2)
            given.scales[:] = LARGEST
            commands.append(command)
            base += 1
    await check(dut, task, "full", commands)


@cocotb.test()
async def lines_are_written_again(dut: Any) -> None:
    """Activations of the next vector replace those of one whose outputs have left."""
    task = read_task()
    random, config = task.random("again"), task.config
    commands = [drawn(task, random, 1, min(2, config.lines), 2, 0) for _ in range(3)]
    loads = [loads_of(task, command) for command in commands]
    outputs = [linear_outputs(config, command.given) for command in commands]
    starts = np.cumsum([0, *map(len, loads)]).tolist()
    left = np.cumsum([0, *map(len, outputs)]).tolist()
    asked = {number: ("load", starts[number + 1]) for number in range(len(commands))}
    freed = {starts[n]: ("sums", left[n]) for n in range(1, len(commands))}
    items = [payload(task, command) for command in commands]
    beats = [beat for command in commands for beat in beats_of(task, command)]
    seen = await run(
        dut,
        {
            "load": Source(joined(loads), after=freed),
            "command": Source(items, after=asked),
            "weights": Source(beats),
        },
        {"sums": Sink(left[-1])},
    )
    found = [task.unpack("sums", bits)["sums"] for bits in seen["sums"].items]
    assert found == joined(outputs)


def drawn(
    task: Task, random: np.random.Generator, tokens: int, groups: int, blocks: int, base: int
) -> Command:
    """Return a random matrix and activations."""
    rows, kept = blocks * task.config.units, groups * GROUP // 2
    order = random.permuted(np.tile(np.arange(4), (rows, kept // 2, 1)), axis=2)
    given = Linear(
        activations=draw(random, (tokens, groups * GROUP), -127, 127),
        codes=draw(random, (rows, kept), 0, 3),
        positions=np.sort(order[..., :2], 2).reshape(rows, kept),
        scales=draw(random, (rows, groups), 0, LARGEST),
        zeros=draw(random, (rows, groups), 0, 3),
    )
    check_linear(task.config, given)
    return Command(given, base, blocks)


def some_rows(task: Task, random: np.random.Generator) -> list[Head]:
    """Return rows of attention of several lengths and widths."""
    config = task.config.attention
    block, lanes = config.block, config.lanes
    return [
        some_head(random, keys, lanes * int(random.integers(1, config.channels // lanes + 1)))
        for keys in (1, block, 2, 2 * block + 1, block + 1, 3)
    ]


def loads_of(task: Task, command: Command) -> list[int]:
    """Return the lines of a command's activations as payloads."""
    given, found = command.given, []
    for token, row in enumerate(given.activations):
        for group in range(given.groups):
            line = command.base + token // 2 * given.groups + group
            part = row[group * GROUP : (group + 1) * GROUP].tolist()
            found.append(task.pack("load", {"data": part, "line": line, "odd": token % 2}))
    return found


def payload(task: Task, command: Command) -> int:
    """Return a command as payload."""
    given = command.given
    fields = {"matrix": given.matrix, "base": command.base, "blocks": command.blocks}
    return task.pack("command", fields | {"groups": given.groups, "pairs": given.pairs})


def beats_of(task: Task, command: Command) -> list[int]:
    """Return the beats of a command's weights as payloads."""
    given, found = command.given, []
    units, kept = task.config.units, GROUP // 2
    for row in range(0, len(given.codes), units):
        for group in range(given.groups):
            rows, part = range(row, row + units), slice(group * kept, (group + 1) * kept)
            words = [(*given.codes[r, part], *given.positions[r, part]) for r in rows]
            groups = [sum(int(word) << 2 * at for at, word in enumerate(own)) for own in words]
            metadata = [
                int(given.scales[r, group]) | int(given.zeros[r, group]) << 16 for r in rows
            ]
            found.append(task.pack("weights", {"data": groups, "metadata": metadata}))
    return found


def joined(parts: list[list[Any]]) -> list[Any]:
    """Return lists one behind another."""
    return [item for part in parts for item in part]


async def check(
    dut: Any,
    task: Task,
    pattern: str,
    commands: list[Command],
    heads: Sequence[Head] = (),
    ready: Sequence[bool] | None = None,
) -> dict[str, Seen]:
    """Run matrices and, beside them, rows of attention; compare values and every cycle.

    `ready`: of the sums' sink, instead of the pattern's.
    """
    config, random = task.config, task.random(pattern + " stalls")
    wanted = [linear_outputs(config, command.given) for command in commands]
    loads = [loads_of(task, command) for command in commands]
    starts = np.cumsum([0, *map(len, loads)]).tolist()
    after = {number: ("load", starts[number + 1]) for number in range(len(commands))}
    items: dict[str, list[int]] = {name: [] for name in (*_LINEAR, *_ROWS)}
    items["load"] = joined(loads)
    for command in commands:
        items["command"].append(payload(task, command))
        items["weights"] += beats_of(task, command)
    rows: list[list[int]] = []
    for head in heads:
        for name, own in items_of(task, head, config.attention, "row").items():
            items[name] += own
        rows += lanes_of(head.outputs(config.block), config.lanes)
    horizon = 20 * sum(map(len, items.values())) + 40 * sum(map(len, wanted)) + 2000
    offers = {name: stalls(random, pattern, horizon)[0] for name in items}
    sinks = {name: stalls(random, pattern, horizon)[1] for name in ("sums", "outputs")}
    sinks["sums"] = sinks["sums"] if ready is None else ready
    seen = await run(
        dut,
        {
            name: Source(own, offers[name], after if name == "command" else {})
            for name, own in items.items()
        },
        {
            "sums": Sink(sum(map(len, wanted)), sinks["sums"]),
            "outputs": Sink(len(rows), sinks["outputs"]),
        },
        horizon,
    )
    found = [task.unpack("sums", bits) for bits in seen["sums"].items]
    assert [item["sums"] for item in found] == joined(wanted)
    lasts = [n == len(own) - 1 for own in wanted for n in range(len(own))]
    assert [item["last"] for item in found] == lasts
    assert [task.unpack("outputs", bits)["data"] for bits in seen["outputs"].items] == rows

    loaded = [seen["load"].cycles[end - 1] + 1 for end in starts[1:]]
    works = [
        Work(own.given.matrix, own.given.groups, own.blocks, own.given.pairs, cycle)
        for own, cycle in zip(commands, loaded, strict=True)
    ]
    linear = LinearPath(
        config, works, LinearStalls(offers["command"], offers["weights"], sinks["sums"])
    )
    sources = {own: offers[name] for name, own in _ROWS.items()}
    attention = AttentionPath(
        config.attention, [head.size for head in heads], sources, sinks["outputs"]
    )
    run_halves(linear, attention)
    assert seen["command"].cycles == linear.moved.commands
    assert seen["weights"].cycles == linear.moved.weights
    assert seen["sums"].cycles == linear.moved.sums
    for name, own in (*_ROWS.items(), ("outputs", "o")):
        assert seen[name].cycles == getattr(attention.moved, own), name
    return seen
