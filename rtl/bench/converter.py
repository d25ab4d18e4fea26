"""Bench of the bit-width converter."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.task import read_task
from sim.blocks.converter import FULL, LSB, MSB, convert_golden, pack_rows
from sim.blocks.handshake import pipeline_moves

LINES = 200


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Lines of all planes; what is packed comes back, but for the bits that a plane lacks."""
    task = read_task()
    config, random = task.config, task.random(pattern)
    top = 1 << (config.width_bits - 1)
    items, expected = [], []
    for _ in range(LINES):
        plane = int(random.choice([FULL, MSB, LSB]))
        line = random.integers(-top, top, (config.rows, config.channels))
        rows = pack_rows(config, line, plane)
        items.append(task.pack("i", {"data": rows, "plane": plane}))
        expected.append([convert_golden(config, row, plane).tolist() for row in rows])
        low = (1 << config.lsb_bits) - 1
        kept = {FULL: line, MSB: line & ~low, LSB: line & low}[plane]
        assert np.array_equal(np.array(expected[-1]), kept)
    offer, ready = stalls(random, pattern, 20 * LINES)
    seen = await run(dut, {"i": Source(items, offer)}, {"o": Sink(LINES, ready)})
    assert [task.unpack("o", bits)["data"] for bits in seen["o"].items] == expected
    moves = pipeline_moves(LINES, config.latency_cycles, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted
