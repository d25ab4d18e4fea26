"""Bench of the core: heads in memory, pruned in every way, against golden functions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from rtl.bench.drive import PATTERNS, Memory, Sink, Source, run, stalls
from rtl.bench.head_pipeline import Head, head_fields, make_head
from rtl.bench.task import Task, read_task
from sim.blocks.converter import FULL, LSB, MSB, pack_rows
from sim.blocks.core_stream import CoreHead, core_moves
from sim.blocks.fetcher import Matrix, MemoryTiming

HEADS = 18
HORIZON = 200_000


@dataclass(frozen=True)
class Placed:
    """A head and its commands."""

    head: Head
    core: CoreHead
    commands: list[int]


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Heads over lists of tokens that shrink, with and without selection, low bits and late V."""
    task = read_task()
    random = task.random(pattern)
    channels = task.config.memory_channels
    accepts, answers = zip(
        *(stalls(random, pattern, HORIZON) for _ in range(channels)), strict=True
    )
    timing = MemoryTiming(int(random.integers(1, 40)), accepts, answers)
    words: dict[int, int] = {}
    placed = place_heads(task, random, words)
    await check(dut, task, pattern, timing, placed, words)


@cocotb.test()
async def heads_that_do_not_fit_are_refused(dut: Any) -> None:
    """Too many keys, no keys, too many queries, late V that cannot be: taken, refused and not run;
    the next one is.
    """
    task = read_task()
    random = task.random("refused")
    tokens = task.config.tokens
    words: dict[int, int] = {}
    head = make_head(task, random, tokens, min(2, tokens), tokens)
    placed, _ = place_head(task, head, np.arange(tokens), True, False, 0, words)
    wrong = [
        {"keys": tokens + 1}, {"keys": 0}, {"queries": tokens + 1}, {"queries": 0},
        {"late": 1, "queries": 1}, {"late": 1, "values": 0},
    ]  # fmt: skip
    good = task.unpack("command", placed.commands[-1])
    refused = [task.pack("command", good | {"head": good["head"] | change}) for change in wrong]
    seen_refused: list[int] = []
    cocotb.start_soon(_count(dut, seen_refused))
    memory = Memory(task.config.memory_channels, MemoryTiming(3), lambda address: words[address])
    seen = await run(
        dut,
        {"command": Source([*refused, *placed.commands])},
        {"o": Sink(len(head.output))},
        HORIZON,
        memory,
    )
    assert sum(seen_refused) == len(wrong)
    assert seen["command"].cycles[: len(wrong)] == list(range(len(wrong)))
    assert [task.unpack("o", bits)["data"] for bits in seen["o"].items] == head.output.tolist()
    assert read(memory) == wanted(placed)


async def _count(dut: Any, seen: list[int]) -> None:
    """Note `refused` in every cycle."""
    while True:
        await FallingEdge(dut.clk)
        seen.append(int(dut.refused.value))


async def check(
    dut: Any,
    task: Task,
    pattern: str,
    timing: MemoryTiming,
    placed: list[Placed],
    words: dict[int, int],
) -> None:
    """Run heads one after another; compare outputs and every cycle on every port."""
    random = task.random(pattern + " stalls")
    offer, ready = stalls(random, pattern, HORIZON)
    memory = Memory(task.config.memory_channels, timing, lambda address: words[address])
    outputs = [row for head in placed for row in head.head.output]
    lasts = [
        number == len(head.head.output) - 1
        for head in placed
        for number in range(len(head.head.output))
    ]
    commands = [command for head in placed for command in head.commands]
    seen = await run(
        dut,
        {"command": Source(commands, offer)},
        {"o": Sink(len(outputs), ready)},
        HORIZON,
        memory,
    )
    for bits, row, last in zip(seen["o"].items, outputs, lasts, strict=True):
        assert task.unpack("o", bits) == {"data": row.tolist(), "last": last}
    moves = core_moves(task.config, [head.core for head in placed], timing, offer, ready)
    assert seen["command"].cycles == moves.command
    assert [[cycle for cycle, _ in port] for port in memory.addresses] == moves.addresses
    assert memory.answers == moves.answers
    assert seen["o"].cycles == moves.o
    assert read(memory) == sum((wanted(head) for head in placed), Counter())


def read(memory: Memory) -> Counter[int]:
    """Return how often each transaction was read."""
    return Counter(address for port in memory.addresses for _, address in port)


def wanted(placed: Placed) -> Counter[int]:
    """Return how often each transaction must be read for a head."""
    core = placed.core
    matrices = [core.query, core.key, core.value]
    if any(query.recompute for query in core.work.queries):
        matrices.append(core.low)
    return Counter(address for matrix in matrices for address in matrix.transactions)


def place_heads(task: Task, random: np.random.Generator, words: dict[int, int]) -> list[Placed]:
    """Return heads of all kinds; every third one comes with another list of tokens."""
    config = task.config
    tokens = np.arange(config.tokens)
    found: list[Placed] = []
    base = 0
    for number in range(HEADS):
        lists = number % 3 == 0
        if lists:
            kept = int(random.integers(1, config.tokens + 1)) if number else config.tokens
            tokens = np.sort(random.choice(config.tokens, kept, replace=False))
        keys = len(tokens)
        gather = bool(random.random() < 0.5)
        queries = min(keys, 5) if gather else int(random.integers(1, 4))
        values = int(random.integers(0, keys + 1)) if random.random() < 0.5 else keys
        lsb, late = bool(random.random() < 0.5), bool(random.random() < 0.5)
        if late:
            queries, values = 1, int(random.integers(0, keys))
        head = make_head(task, random, keys, queries, values, lsb, late)
        placed, end = place_head(task, head, tokens, lists, gather, base, words)
        found.append(placed)
        base = end + int(random.integers(0, 9))
    return found


def place_head(
    task: Task,
    head: Head,
    tokens: np.ndarray,
    lists: bool,
    gather: bool,
    base: int,
    words: dict[int, int],
) -> tuple[Placed, int]:
    """Put a head's rows into memory from a transaction on; return it and the first free one.

    Args:
        task: the core.
        head: operands of the tokens that are alive.
        tokens: their row numbers.
        lists: whether the token list is written before the head.
        gather: whether queries are tokens of the list, else rows from 0 on.
        base: first transaction.
        words: memory, address -> transaction.
    """
    config = task.config
    queries = len(head.query)
    rows = tokens[:queries] if gather else np.arange(queries)
    parts = {
        "query": (head.query, rows, FULL),
        "key": (head.key, tokens, MSB if head.lsb else FULL),
        "value": (head.value, tokens, FULL),
        "low": (head.key, tokens, LSB),
    }
    matrices = {}
    for name, (matrix, indices, plane) in parts.items():
        matrices[name] = Matrix(base, config.row_transactions(plane), indices.tolist())
        packed = pack_rows(config.converter, matrix, plane)
        _store(config.transaction_bits, words, matrices[name], packed)
        base += config.tokens * matrices[name].size
    if head.late:
        kept = _kept_rows(config.rows, tokens, head.lines)
        matrices["value"] = matrices["value"]._replace(indices=kept)
    lines = -(-len(tokens) // config.rows) if lists else 0
    core = CoreHead(head.work, **matrices, lists=lines)
    return Placed(head, core, _commands(task, head, core, tokens, gather)), base


def _kept_rows(rows: int, tokens: np.ndarray, lines: list[tuple[int, int]]) -> list[int | None]:
    """Return the tokens of the lines that a late head needs, None for a row that is left out."""
    return [
        int(tokens[line * rows + lane]) if mask >> lane & 1 else None
        for line, mask in lines
        for lane in range(rows)
    ]


def _store(bits: int, words: dict[int, int], matrix: Matrix, rows: list[int]) -> None:
    """Put rows into memory, transaction by transaction."""
    for index, row in zip(matrix.indices, rows, strict=True):
        for part in range(matrix.size):
            word = (row >> (part * bits)) & ((1 << bits) - 1)
            words[matrix.base + index * matrix.size + part] = word


def _commands(
    task: Task, head: Head, core: CoreHead, tokens: np.ndarray, gather: bool
) -> list[int]:
    """Return the lines of the token list, if it changes, and the head."""
    rows = task.config.rows
    nothing = dict.fromkeys(head_fields(head), 0)
    empty = {
        "is_head": 0, "query_base": 0, "key_base": 0, "low_base": 0, "value_base": 0, "gather": 0,
        "head": nothing, "line": 0, "tokens": [],
    }  # fmt: skip
    found = [
        task.pack(
            "command",
            empty | {"line": line, "tokens": tokens[line * rows : (line + 1) * rows].tolist()},
        )
        for line in range(core.lists)
    ]
    bases = {f"{name}_base": getattr(core, name).base for name in ("query", "key", "low", "value")}
    found.append(
        task.pack(
            "command", empty | bases | {"is_head": 1, "gather": gather, "head": head_fields(head)}
        )
    )
    return found
