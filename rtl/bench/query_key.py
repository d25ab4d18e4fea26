"""Bench of the array that multiplies a query with keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.operands import draw, into_segments
from rtl.bench.task import Task, read_task
from sim.blocks.dotprod import query_key_golden
from sim.blocks.dotprod_stream import ArrayStalls, array_moves


@dataclass(frozen=True)
class Product:
    """A query and the keys that it meets."""

    dim_log2: int
    query: Any  # (dim,)
    keys: Any  # (keys, dim), at least one


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Heads of all dimensions in random order, odd numbers of keys, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    dims = [*range(task.config.multipliers.bit_length())] * 2
    random.shuffle(dims)
    products = [product(task, random, dim, int(random.integers(1, 5))) for dim in dims]
    await check(dut, task, pattern, products)


@cocotb.test()
async def most_negative_operands(dut: Any) -> None:
    """Each dimension in full: the largest sum there is."""
    task = read_task()
    low = -(1 << (task.config.width_bits - 1))
    products = []
    for dim_log2 in range(task.config.multipliers.bit_length()):
        dim, keys = 1 << dim_log2, per_line(task, dim_log2)
        products.append(Product(dim_log2, np.full(dim, low), np.full((keys, dim), low)))
    await check(dut, task, "full", products)


@cocotb.test()
async def a_line_a_cycle(dut: Any) -> None:
    """Queries of one line and of more follow each other without a gap."""
    task = read_task()
    random = task.random("throughput")
    dims = random.integers(0, task.config.multipliers.bit_length(), 24).tolist()
    products = [product(task, random, dim, 1 + number % 3) for number, dim in enumerate(dims)]
    seen = await check(dut, task, "full", products)
    lines = len(seen["i"].cycles)
    latency = task.config.latency_cycles
    assert seen["i"].cycles == list(range(lines))
    assert seen["o"].cycles == list(range(latency, latency + lines))


def product(task: Task, random: np.random.Generator, dim_log2: int, lines: int) -> Product:
    """Return random operands whose keys fill some lines, the last one in part."""
    half = 1 << (task.config.width_bits - 1)
    dim = int(random.integers((1 << dim_log2) // 2 + 1, (1 << dim_log2) + 1))
    keys = per_line(task, dim_log2) * (lines - 1)
    keys += int(random.integers(1, per_line(task, dim_log2) + 1))
    query, key = (draw(random, shape, -half, half - 1) for shape in ((dim,), (keys, dim)))
    return Product(dim_log2, query, key)


def per_line(task: Task, dim_log2: int) -> int:
    """Return the keys of a line."""
    return int(task.config.scores_per_cycle(1 << dim_log2))


async def check(dut: Any, task: Task, pattern: str, products: list[Product]) -> Any:
    """Run products one after another; compare scores and every cycle; return what moved."""
    random = task.random(pattern + " stalls")
    lines = [line for given in products for line in lines_of(task, given)]
    outputs = [scores for given in products for scores in leaving(task, given)]
    horizon = 100 * (len(lines) + 10)
    offer, ready = stalls(random, pattern, horizon)
    offer_query, _ = stalls(random, pattern, horizon)
    queries = [pack_query(task, given) for given in products]
    items = [task.pack("i", line) for line in lines]
    seen = await run(
        dut,
        {"query": Source(queries, offer_query), "i": Source(items, offer)},
        {"o": Sink(len(lines), ready)},
        horizon,
    )
    for line, scores, bits in zip(lines, outputs, seen["o"].items, strict=True):
        row = task.unpack("o", bits)
        assert (row["count"], row["last"]) == (line["count"], line["last"])
        assert row["data"][: line["count"]] == scores
    lasts = [line["last"] for line in lines]
    moves = array_moves(lasts, task.config.latency_cycles, ArrayStalls(offer_query, offer, ready))
    assert seen["query"].cycles == moves.operands
    assert seen["i"].cycles == moves.lines
    assert seen["o"].cycles == moves.outputs
    return seen


def pack_query(task: Task, given: Product) -> int:
    """Return a query as payload; channels beyond the head's dimension hold noise."""
    half, lanes = 1 << (task.config.width_bits - 1), task.config.multipliers
    query = task.random("noise").integers(-half, half, lanes)
    query[: len(given.query)] = given.query
    return task.pack("query", {"query": query.tolist(), "dim_log2": given.dim_log2})


def lines_of(task: Task, given: Product) -> list[dict[str, Any]]:
    """Return the lines that the keys fill."""
    lanes, step = task.config.multipliers, per_line(task, given.dim_log2)
    segment = max(1 << given.dim_log2, lanes // task.config.max_scores_per_cycle)
    lines = []
    for start in range(0, len(given.keys), step):
        rows = given.keys[start : start + step]
        last = start + step >= len(given.keys)
        channels = into_segments(rows, segment, lanes).tolist()
        lines.append({"data": channels, "count": len(rows), "last": last})
    return lines


def leaving(task: Task, given: Product) -> list[list[int]]:
    """Return the scores of each line."""
    scores = query_key_golden(given.query[None], given.keys)[0].tolist()
    step = per_line(task, given.dim_log2)
    return [scores[start : start + step] for start in range(0, len(scores), step)]
