"""Bench of the zero eliminator."""

from __future__ import annotations

from typing import Any

import cocotb

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.task import read_task
from sim.blocks.eliminator import eliminate_golden
from sim.blocks.handshake import pipeline_moves

ROWS = 400


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Random rows of random density, random stalls."""
    task = read_task()
    config, random = task.config, task.random(pattern)
    rows = []
    for _ in range(ROWS):
        data = random.integers(0, 1 << config.width_bits, config.lanes).tolist()
        keep = (random.random(config.lanes) < random.random()).tolist()
        rows.append((data, keep, bool(random.random() < 0.1)))
    offer, ready = stalls(random, pattern, 20 * ROWS)
    items = [
        task.pack(
            "i", {"data": data, "keep": sum(k << i for i, k in enumerate(keep)), "last": last}
        )
        for data, keep, last in rows
    ]
    seen = await run(dut, {"i": Source(items, offer)}, {"o": Sink(ROWS, ready)})
    for (data, keep, last), bits in zip(rows, seen["o"].items, strict=True):
        kept = eliminate_golden(data, keep)
        assert task.unpack("o", bits) == {
            "data": kept + [0] * (config.lanes - len(kept)),
            "count": len(kept),
            "last": last,
        }
    moves = pipeline_moves(ROWS, config.latency_cycles, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted
