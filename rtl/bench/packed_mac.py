"""Bench of the packed multiply-accumulate."""

from __future__ import annotations

from itertools import product
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.operands import draw
from rtl.bench.task import Task, read_task
from sim.blocks.packed_mac import (
    BYTE,
    NIBBLE,
    PAIR,
    SPARSE,
    MacItem,
    limit,
    mac_golden,
    mac_moves,
)

BYTES, CODES, NIBBLES = (-127, 127), (0, 3), (0, 15)
RANGES = {
    BYTE: (BYTES, BYTES),
    NIBBLE: (NIBBLES, BYTES),
    SPARSE: (CODES, BYTES),
    PAIR: (BYTES, CODES),
}
"""By mode: bounds of (`low` and `high`, `factor` and `other`)."""


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Sums of all modes and lengths in random order, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    sums = []
    for _ in range(60):
        mode = int(random.choice(task.config.modes))
        count = 1 if mode == SPARSE else int(random.integers(1, 9))
        unsigned = mode == NIBBLE and bool(random.integers(2))
        sums.append(drawn(random, mode, count, unsigned))
    await check(dut, task, pattern, sums)


@cocotb.test()
async def bounds_of_the_sparse_mode(dut: Any) -> None:
    """All weights, with activations at and beside the ends of their range and zero."""
    task = read_task()
    if SPARSE not in task.config.modes:
        return
    ends = (-127, -126, -64, -1, 0, 1, 63, 126, 127)
    items = [
        [MacItem(SPARSE, low, high, factor, other)]
        for low, high, factor, other in product(range(4), range(4), ends, ends)
    ]
    await check(dut, task, "full", items)


@cocotb.test()
@cocotb.parametrize(mode=(BYTE, NIBBLE, PAIR), sign=(-1, 1), unsigned=(False, True))
async def longest_sums(dut: Any, mode: int, sign: int, unsigned: bool) -> None:
    """As many of the largest products as a lane holds, the lanes of equal and opposite sign."""
    task = read_task()
    if mode not in task.config.modes or (unsigned and (mode != NIBBLE or sign < 0)):
        return
    (_, part), (_, factor) = RANGES[mode]
    count = limit(mode, unsigned)
    if unsigned:
        factor = 255
    low, high = (sign * part, part) if mode != NIBBLE else (part, part)
    if mode == NIBBLE:
        factor *= sign
    sums = [summed(mode, [(low, high, factor, 0)] * count)]
    sums.append(summed(mode, [(high, low, factor, 0)] * count))
    await check(dut, task, "full", sums)


def drawn(random: np.random.Generator, mode: int, count: int, unsigned: bool) -> list[MacItem]:
    """Return the items of a sum of random products."""
    parts, factors = RANGES[mode]
    lanes = draw(random, (count, 2), *parts)
    others = draw(random, (count, 2), *((0, 255) if unsigned else factors))
    rows = [(*lane, factor, other) for lane, (factor, other) in zip(lanes, others, strict=True)]
    kept = [(*row[:3], row[3] if mode == SPARSE else 0) for row in rows]
    return summed(mode, kept)


def summed(mode: int, rows: list[Any]) -> list[MacItem]:
    """Return items of (low, high, factor, other), the first and the last of them marked."""
    last = len(rows) - 1
    return [
        MacItem(mode, *map(int, row), first=place == 0, last=place == last)
        for place, row in enumerate(rows)
    ]


async def check(dut: Any, task: Task, pattern: str, sums: list[list[MacItem]]) -> None:
    """Run sums one after another; compare lanes and every cycle."""
    items = [item for given in sums for item in given]
    expected = mac_golden(items, task.config.lane_bits)
    horizon = 20 * len(items) + 100
    offer, ready = stalls(task.random(pattern + " stalls"), pattern, horizon)
    source = Source([payload(task, item) for item in items], offer)
    seen = await run(dut, {"i": source}, {"o": Sink(len(expected), ready)}, horizon)
    found = [task.unpack("o", bits) for bits in seen["o"].items]
    assert [(lanes["low"], lanes["high"]) for lanes in found] == expected
    lasts = [item.last for item in items]
    moves = mac_moves(lasts, task.config.latency_cycles, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted


def payload(task: Task, item: MacItem) -> int:
    """Return an item as payload."""
    names = ("low", "high", "factor", "other")
    operands = {name: getattr(item, name) for name in names}
    fields = {"mode": item.mode, "first": item.first, "last": item.last}
    return task.pack("i", {"operands": operands} | fields)
