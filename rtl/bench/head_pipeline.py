"""Bench of the head pipeline: whole heads, with every kind of pruning, against golden functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.task import Task, read_task
from sim.blocks.dotprod import prob_value_golden, query_key_golden
from sim.blocks.head_pipeline_stream import HeadWork, QueryWork, Stalls, pipeline_moves
from sim.blocks.requant import requant_golden
from sim.blocks.softmax import exponent_multiplier, softmax_golden
from sim.blocks.topk import topk_golden
from sim.blocks.topk_stream import Selection, passes_cycles, rows_leaving

HEADS = 16
HORIZON = 200_000


@dataclass(frozen=True)
class Head:
    """One head and what it must give."""

    query: np.ndarray  # (queries, channels) signed
    key: np.ndarray  # (keys, channels)
    value: np.ndarray
    values: int
    lsb: bool
    threshold: int
    multiplier: int
    work: HeadWork
    output: np.ndarray  # (queries, channels) exact sums


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Heads of all lengths: plain, with local value pruning, with low bits on demand, with both."""
    task = read_task()
    random = task.random(pattern)
    await check(dut, task, pattern, [random_head(task, random) for _ in range(HEADS)])


@cocotb.test()
async def arrays_are_busy_on_a_dense_head(dut: Any) -> None:
    """One head of 128 keys, or as many as fit, and as many queries, with ideal memory.

    A line enters each array in nine cycles of ten from its first to its last one, where enough
    queries may be under way to fill the pipeline.
    """
    task = read_task()
    random = task.random("dense")
    keys = min(128, task.config.tokens)
    head = make_head(task, random, keys, keys, keys, False)
    moves = await check(dut, task, "full", [head])
    lines = -(-keys // task.config.rows)
    latency = moves.o[0] - moves.issues[0]
    if task.config.results * lines > latency:
        read = moves.issues[-1] + lines - moves.issues[0]
        weighed = moves.weighed[-1] + 1 - moves.weighed[0]
        assert lines * keys >= 0.9 * read
        assert lines * keys >= 0.9 * weighed


def random_head(task: Task, random: np.random.Generator) -> Head:
    """Return a head of any kind."""
    tokens = task.config.tokens
    keys = int(random.integers(1, tokens + 1))
    queries = int(random.integers(1, min(tokens, 6) + 1))
    kept = int(random.integers(0, keys + 1)) if random.random() < 0.5 else keys
    return make_head(task, random, keys, queries, kept, bool(random.random() < 0.4))


def make_head(
    task: Task, random: np.random.Generator, keys: int, queries: int, values: int, lsb: bool
) -> Head:
    """Return a head with random operands and a threshold that some of its rows miss."""
    config = task.config
    top = 1 << (config.width_bits - 1)
    query, key, value = (
        random.integers(-top, top, (n, config.channels)) for n in (queries, keys, keys)
    )
    scale = float(10 ** random.uniform(-1, 1)) / np.abs(query_key_golden(query, key)).max(initial=1)
    multiplier = min(exponent_multiplier(scale), (1 << 31) - 1)
    coarse = (key >> config.lsb_bits) << config.lsb_bits if lsb else key
    probabilities = softmax_golden(config.softmax, query_key_golden(query, coarse), multiplier)
    threshold = int(np.median(probabilities.max(axis=1))) if random.random() < 0.8 else 0
    operands = (query, key, value)
    return golden_head(config, operands, values, lsb, threshold, multiplier)


def golden_head(
    config: Any,
    operands: tuple[np.ndarray, np.ndarray, np.ndarray],
    values: int,
    lsb: bool,
    threshold: int,
    multiplier: int,
) -> Head:
    """Return a head with what it must give, by the blocks' golden functions.

    Args:
        config: the pipeline.
        operands: Q, K and V, (rows, channels) signed.
        values: rows of V that each query keeps.
        lsb: whether K comes in planes.
        threshold, multiplier: of recomputation and softmax.
    """
    query, key, value = operands
    keys = len(key)
    coarse = (key >> config.lsb_bits) << config.lsb_bits if lsb else key
    probabilities = softmax_golden(config.softmax, query_key_golden(query, coarse), multiplier)
    recompute = requant_golden(probabilities, threshold) & lsb
    if recompute.any():
        again = query_key_golden(query[recompute], key)
        probabilities[recompute] = softmax_golden(config.softmax, again, multiplier)
    output, work = [], []
    for row, repeated in zip(probabilities, recompute.tolist(), strict=True):
        kept = np.zeros(keys, np.bool_)
        kept[topk_golden(config.topk, row, values)] = True
        output.append(prob_value_golden(np.where(kept, row, 0)[None], value)[0])
        work.append(_work(config, row, values, repeated))
    return Head(
        query, key, value, values, lsb, threshold, multiplier,
        HeadWork(keys, work, lsb), np.array(output),
    )  # fmt: skip


def _work(config: Any, row: np.ndarray, values: int, repeated: bool) -> QueryWork:
    if values >= len(row):
        return QueryWork(repeated)
    selection = Selection(row, values)
    kept = topk_golden(config.topk, row, values)
    lines = [
        (number, max(1, len(set(kept[kept // config.topk_lanes == number] // config.rows))))
        for number in rows_leaving(config.topk, selection)
    ]
    return QueryWork(repeated, passes_cycles(config.topk, selection), lines)


async def check(dut: Any, task: Task, pattern: str, heads: list[Head]) -> Any:
    """Run heads one after another; compare outputs and every cycle; return the model's moves."""
    random = task.random(pattern + " stalls")
    given = {}
    for name in ("head", "query_fill", "key_fill", "value_fill"):
        given[name], _ = stalls(random, pattern, HORIZON)
    for name in ("lsb", "o"):
        _, given[name] = stalls(random, pattern, HORIZON)
    sources, asked = _sources(task, heads, given)
    outputs = sum(len(head.output) for head in heads)
    sinks = {"o": Sink(outputs, given["o"]), "lsb": Sink(asked, given["lsb"])}
    seen = await run(dut, sources, sinks, HORIZON)
    left = iter(seen["o"].items)
    for head in heads:
        for number, row in enumerate(head.output):
            last = number == len(head.output) - 1
            assert task.unpack("o", next(left)) == {"data": row.tolist(), "last": last}
    moves = pipeline_moves(task.config, [head.work for head in heads], Stalls(**given))
    for name in (*sources, *sinks):
        assert seen[name].cycles == getattr(moves, name), name
    return moves


def _sources(
    task: Task, heads: list[Head], given: dict[str, list[bool]]
) -> tuple[dict[str, Source], int]:
    """Return what is fed, and how often low bits are asked for."""
    items: dict[str, list[int]] = {"head": [], "query_fill": [], "key_fill": [], "value_fill": []}
    after: dict[int, tuple[str, int]] = {}
    asked = left = 0
    for number, head in enumerate(heads):
        items["head"].append(
            task.pack(
                "head",
                {
                    "queries": len(head.query),
                    "keys": len(head.key),
                    "values": head.values,
                    "lsb": head.lsb,
                    "threshold": head.threshold,
                    "multiplier": head.multiplier,
                },
            )
        )
        keys = items["key_fill"]
        if number and heads[number - 1].lsb:
            after[len(keys)] = ("o", left)
        for name, matrix in (("query", head.query), ("key", head.key), ("value", head.value)):
            items[f"{name}_fill"] += _lines(task, name, matrix, None)
        if any(query.recompute for query in head.work.queries):
            asked += 1
            after[len(keys)] = ("lsb", asked)
            keys += _lines(task, "key", head.key, number % 2)
        left += len(head.output)
    sources = {
        name: Source(found, given[name], after if name == "key_fill" else {})
        for name, found in items.items()
    }
    return sources, asked


def _lines(task: Task, name: str, matrix: np.ndarray, half: int | None) -> list[int]:
    """Return a matrix line by line; with a half, only its low bits matter."""
    rows, config = task.config.rows, task.config
    count = -(-len(matrix) // rows)
    noise = task.random("noise").integers(-1, 1, (rows, config.channels))
    found = []
    for line in range(count):
        part = matrix[line * rows : (line + 1) * rows]
        data = np.concatenate([part, noise[len(part) :]])
        fields = {
            "data": data,
            "mask": (1 << len(part)) - 1,
            "line": line,
            "lsb": half is not None,
            "half": half or 0,
            "last": line == count - 1,
        }
        found.append(task.pack(f"{name}_fill", fields))
    return found
