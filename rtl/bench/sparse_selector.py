"""Bench of the 2:4 selector."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.operands import draw
from rtl.bench.task import Task, read_task
from sim.blocks.handshake import pipeline_moves
from sim.blocks.sparse_selector import Selection, select_golden

PAIRS = np.array(list(combinations(range(4), 2)))


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """One token and two in random order, all patterns of kept weights, with random stalls."""
    task = read_task()
    random, quads = task.random(pattern), task.config.quads
    given = [
        Selection(
            draw(random, (2, quads, 4), -128, 127),
            random.choice(PAIRS, quads),
            bool(random.integers(2)),
            bool(random.integers(2)),
        )
        for _ in range(120)
    ]
    offer, ready = stalls(random, pattern, 20 * len(given))
    source = Source([payload(task, selection) for selection in given], offer)
    seen = await run(dut, {"i": source}, {"o": Sink(len(given), ready)})
    for selection, bits in zip(given, seen["o"].items, strict=True):
        assert task.unpack("o", bits)["kept"] == select_golden(selection).tolist()
    moves = pipeline_moves(len(given), task.config.latency_cycles, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted


def payload(task: Task, given: Selection) -> int:
    """Return a selection as payload."""
    fields = {"pair": given.pair, "second": given.second}
    operands = {"tokens": given.tokens.tolist(), "positions": given.positions.tolist()}
    return task.pack("i", operands | fields)
