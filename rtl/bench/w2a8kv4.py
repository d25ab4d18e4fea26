"""Bench of the W2A8KV4 engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.operands import draw
from rtl.bench.task import Task, read_task
from sim.blocks.w2a8kv4 import GROUP, Linear, check_linear, linear_outputs
from sim.blocks.w2a8kv4_stream import EngineStalls, Work, engine_moves

LARGEST = 0x3BFF  # FP16: the largest number below 1


@dataclass(frozen=True)
class Command:
    """A matrix, and where its activations lie."""

    given: Linear
    base: int
    blocks: int


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Vectors and matrices of tokens in random order, with random stalls."""
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
    await check(dut, task, pattern, commands)


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
    freed = {starts[n]: ("o", left[n]) for n in range(1, len(commands))}
    items = [payload(task, command) for command in commands]
    beats = [beat for command in commands for beat in beats_of(task, command)]
    seen = await run(
        dut,
        {
            "load": Source(joined(loads), after=freed),
            "command": Source(items, after=asked),
            "weights": Source(beats),
        },
        {"o": Sink(left[-1])},
    )
    assert sums_of(task, seen["o"].items) == joined(outputs)


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


def sums_of(task: Task, items: list[int]) -> list[list[int]]:
    """Return the sums of outputs."""
    return [task.unpack("o", bits)["sums"] for bits in items]


async def check(dut: Any, task: Task, pattern: str, commands: list[Command]) -> Any:
    """Run commands one after another; compare sums and every cycle; return what moved."""
    config, random = task.config, task.random(pattern + " stalls")
    outputs = [linear_outputs(config, command.given) for command in commands]
    loads = [loads_of(task, command) for command in commands]
    beats = [beat for command in commands for beat in beats_of(task, command)]
    works = [
        Work(own.given.matrix, own.given.groups, own.blocks, own.given.pairs) for own in commands
    ]
    horizon = 20 * (sum(work.cycles for work in works) + sum(map(len, loads))) + 200
    offer, ready = stalls(random, pattern, horizon)
    offer_command, offer_load = stalls(random, pattern, horizon)
    starts = np.cumsum([0, *map(len, loads)]).tolist()
    after = {number: ("load", starts[number + 1]) for number in range(len(commands))}
    items = [payload(task, command) for command in commands]
    seen = await run(
        dut,
        {
            "load": Source(joined(loads), offer_load),
            "command": Source(items, offer_command, after),
            "weights": Source(beats, offer),
        },
        {"o": Sink(sum(map(len, outputs)), ready)},
        horizon,
    )
    assert sums_of(task, seen["o"].items) == joined(outputs)
    lasts = [task.unpack("o", bits)["last"] for bits in seen["o"].items]
    assert lasts == [n == len(own) - 1 for own in outputs for n in range(len(own))]
    loaded = [seen["load"].cycles[end - 1] + 1 for end in starts[1:]]
    works = [
        Work(work.matrix, work.groups, work.blocks, work.pairs, cycle)
        for work, cycle in zip(works, loaded, strict=True)
    ]
    moves = engine_moves(config, works, EngineStalls(offer_command, offer, ready))
    assert seen["command"].cycles == moves.commands
    assert seen["weights"].cycles == moves.weights
    assert seen["o"].cycles == moves.outputs
    return seen
