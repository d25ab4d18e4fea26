"""Bench of the core: heads in memory, pruned in every way, against golden functions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Memory, Sink, Source, run, stalls
from rtl.bench.head_pipeline import make_head
from rtl.bench.host import Host
from rtl.bench.task import Task, read_task
from rtl.bench.watch import note
from sim.blocks.cascade_stream import first_idle
from sim.blocks.core_stream import CoreMoves, CoreStalls, core_moves
from sim.blocks.fetcher import MemoryTiming

HORIZON = 200_000


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Heads under a cascade of tokens and heads, with and without local value pruning, low bits,
    late V; lists that the host writes anew.
    """
    task = read_task()
    random = task.random(pattern)
    channels = task.config.memory_channels
    accepts, answers = zip(
        *(stalls(random, pattern, HORIZON) for _ in range(channels)), strict=True
    )
    timing = MemoryTiming(int(random.integers(1, 40)), accepts, answers)
    host = random_program(task, random, heads=52 if task.config.tokens < 64 else 20)
    await check(dut, host, pattern, timing)


@cocotb.test()
async def what_does_not_fit_is_refused(dut: Any) -> None:
    """Heads with too many keys, no keys, too many queries, late V that cannot be, no such number,
    a token list beyond the last: taken, refused and not run; the next head is.
    """
    task = read_task()
    random = task.random("refused")
    tokens, payload = task.config.tokens, task.layouts["command"]
    host = Host(task)
    host.list_tokens(np.arange(tokens))
    head = make_head(task, random, tokens, min(2, tokens), tokens)
    host.run_head(head, 0, gather=False)
    good = task.unpack("command", host.commands[-1])
    wrong = [
        good | {"head": good["head"] | change}
        for change in (
            {"keys": tokens + 1}, {"keys": 0}, {"queries": tokens + 1}, {"queries": 0},
            {"late": 1, "queries": 1}, {"late": 1, "values": 0},
        )
    ]  # fmt: skip
    if 1 << payload["number"].width > task.config.heads:
        wrong.append(good | {"number": task.config.heads})
    cascade = good["cascade"] | {"kind": 2, "count": tokens + 1}
    wrong.append(good | {"is_head": 0, "cascade": cascade})
    seen_refused: list[int] = []
    cocotb.start_soon(note(dut, "refused", seen_refused))
    memory = Memory(task.config.memory_channels, MemoryTiming(3), host.words.__getitem__)
    refused = [task.pack("command", fields) for fields in wrong]
    seen = await run(
        dut,
        {"command": Source([*refused, *host.commands])},
        {"o": Sink(len(host.outputs)), "kept": Sink(0)},
        HORIZON,
        memory,
    )
    assert sum(seen_refused) == len(wrong)
    first = first_idle(task.config.cascade)
    assert seen["command"].cycles[: len(wrong)] == list(range(first, first + len(wrong)))
    assert outputs_of(task, seen["o"].items) == host.outputs
    assert reads(memory) == host.transactions


def random_program(task: Task, random: np.random.Generator, heads: int) -> Host:
    """Return layers of a few heads with selections between them; at last all that stayed is shown.

    Every list is shuffled, so that the tokens of a line lie anywhere in memory.
    """
    config = task.config
    host = Host(task)
    host.list_tokens(random.permutation(config.tokens))
    while len(host.heads) < heads:
        for _ in range(int(random.integers(1, 6))):
            run_any_head(host, random)
        if random.random() < 0.3 or not host.tokens.size or not host.state.alive.any():
            kept = int(random.integers(1, config.tokens + 1))
            tokens = random.permutation(config.tokens)[:kept]
            host.list_tokens(tokens, random.integers(0, 4000, kept))
            alive = random.random(config.heads) < 0.7
            host.list_heads(alive.astype(np.int64), random.integers(0, 99, config.heads))
        if random.random() < 0.7:
            host.select_tokens(_share(random, len(host.tokens)))
        if random.random() < 0.7:
            host.select_heads(_share(random, int(host.state.alive.sum())))
    host.select_tokens(len(host.tokens))
    host.select_heads(config.heads)
    return host


def _share(random: np.random.Generator, number: int) -> int:
    """Return how many stay: most of them, or seldom any number."""
    return int(random.integers(0 if random.random() < 0.1 else number // 2, number + 1))


def run_any_head(host: Host, random: np.random.Generator) -> None:
    """Run a head of any kind on the tokens of the list, if there is one."""
    keys = len(host.tokens)
    if not keys:
        return
    gather = bool(random.random() < 0.5)
    queries = min(keys, 5) if gather else int(random.integers(1, 4))
    values = int(random.integers(0, keys + 1)) if random.random() < 0.5 else keys
    lsb, late = bool(random.random() < 0.5), bool(random.random() < 0.5)
    if late:
        queries, values = 1, int(random.integers(0, keys))
    head = make_head(host.task, random, keys, queries, values, lsb, late)
    host.run_head(head, int(random.integers(0, host.config.heads)), gather)


async def check(dut: Any, host: Host, pattern: str, timing: MemoryTiming) -> CoreMoves:
    """Run a program; compare outputs, what is kept, and every cycle on every port."""
    task = host.task
    random = task.random(pattern + " stalls")
    offer, ready = stalls(random, pattern, HORIZON)
    given = CoreStalls(offer, ready, stalls(random, pattern, HORIZON)[1])
    memory = Memory(task.config.memory_channels, timing, host.words.__getitem__)
    skipped: list[int] = []
    cocotb.start_soon(note(dut, "skipped", skipped))
    seen = await run(
        dut,
        {"command": Source(host.commands, given.command)},
        {"o": Sink(len(host.outputs), given.o), "kept": Sink(len(host.kept), given.kept)},
        HORIZON,
        memory,
    )
    assert outputs_of(task, seen["o"].items) == host.outputs
    assert [task.unpack("kept", bits) for bits in seen["kept"].items] == host.kept
    assert sum(skipped) == host.skipped
    moves = core_moves(task.config, host.heads, timing, given, host.ending)
    assert seen["command"].cycles == moves.command
    assert [[cycle for cycle, _ in port] for port in memory.addresses] == moves.addresses
    assert memory.answers == moves.answers
    assert seen["o"].cycles == moves.o
    assert seen["kept"].cycles == moves.kept
    assert reads(memory) == host.transactions
    return moves


def outputs_of(task: Task, items: list[int]) -> list[tuple[list[int], bool]]:
    """Return outputs as a host expects them."""
    rows = [task.unpack("o", bits) for bits in items]
    return [(row["data"], bool(row["last"])) for row in rows]


def reads(memory: Memory) -> Counter[int]:
    """Return how often each transaction was read."""
    return Counter(address for port in memory.addresses for _, address in port)
