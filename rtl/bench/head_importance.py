"""Bench of the accumulator of a head's importance."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, run, stalls
from rtl.bench.operands import draw
from rtl.bench.task import Task, read_task
from sim.blocks.accumulate import head_importance_golden
from sim.blocks.importance_stream import head_importance_moves

HEADS = 40


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Heads of one row and more, also empty rows and full sums, random stalls."""
    task = read_task()
    await check(dut, task, pattern, heads(task, task.random(pattern)))


@cocotb.test()
async def a_row_a_cycle(dut: Any) -> None:
    """Heads follow each other without a gap."""
    task = read_task()
    given = heads(task, task.random("throughput"))
    seen = await check(dut, task, "full", given)
    rows = [len(head) for _, head in given]
    assert seen["i"].cycles == list(range(sum(rows)))
    assert seen["o"].cycles == (np.cumsum(rows) - 1 + task.config.latency_cycles).tolist()


def heads(task: Task, random: np.random.Generator) -> list[tuple[int, list[Any]]]:
    """Return heads: the importance so far and rows of output elements, the first full."""
    config = task.config
    half, top = 1 << (config.value_bits - 1), (1 << config.sum_bits) - 1
    found: list[tuple[int, list[Any]]] = []
    for number in range(HEADS):
        start = [0, top, top - 1, int(random.integers(top))][number % 4]
        counts = random.integers(0, config.lanes + 1, random.integers(1, 8)).tolist()
        rows = [draw(random, (n,), -half, half - 1) for n in [*counts[:-1], config.lanes]]
        found.append((start, rows))
    return found


async def check(
    dut: Any, task: Task, pattern: str, given: list[tuple[int, list[Any]]]
) -> dict[str, Seen]:
    """Run heads one after another; compare sums and every cycle; return what moved."""
    random, lanes = task.random(pattern + " stalls"), task.config.lanes
    items, lasts = [], []
    noise = random.integers(0, 1 << (task.config.value_bits - 1), lanes).tolist()
    for start, rows in given:
        for number, row in enumerate(rows):
            fields = {
                "data": row.tolist() + noise[len(row) :],
                "count": len(row),
                "last": number == len(rows) - 1,
                "importance": start if number == 0 else 0,
            }
            items.append(task.pack("i", fields))
            lasts.append(number == len(rows) - 1)
    offer, ready = stalls(random, pattern, 20 * len(items))
    seen = await run(dut, {"i": Source(items, offer)}, {"o": Sink(len(given), ready)})
    for (start, rows), bits in zip(given, seen["o"].items, strict=True):
        total = head_importance_golden(start, np.concatenate(rows), task.config.sum_bits)
        assert task.unpack("o", bits) == {"importance": total}
    moves = head_importance_moves(task.config, lasts, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted
    return seen
