"""Bench of the comparator array."""

from __future__ import annotations

from typing import Any

import cocotb

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.task import read_task
from sim.blocks.comparator import compare_golden
from sim.blocks.handshake import pipeline_moves

ROWS = 400


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Random rows, full and not, with many ties, random stalls."""
    task = read_task()
    config, random = task.config, task.random(pattern)
    rows = []
    for _ in range(ROWS):
        top = 1 << int(random.integers(1, config.width_bits + 1))  # narrow ranges give ties
        data = random.integers(0, top, config.lanes).tolist()
        rows.append((data, int(random.integers(config.lanes + 1)), int(random.integers(top))))
    offer, ready = stalls(random, pattern, 20 * ROWS)
    items = [task.pack("i", {"data": data, "count": n, "pivot": p}) for data, n, p in rows]
    seen = await run(dut, {"i": Source(items, offer)}, {"o": Sink(ROWS, ready)})
    for row, bits in zip(rows, seen["o"].items, strict=True):
        split = compare_golden(*row)
        assert task.unpack("o", bits) == {
            "below": sum(k << i for i, k in enumerate(split.below)),
            "above": sum(k << i for i, k in enumerate(split.above)),
            "equal": split.equal,
        }
    moves = pipeline_moves(ROWS, config.latency_cycles, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted
