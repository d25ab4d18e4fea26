"""Bench of the array of packed multiply-accumulates."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.packed_mac import drawn
from rtl.bench.task import Task, read_task
from sim.blocks.mac_array import ArrayItem, Operands, array_golden
from sim.blocks.packed_mac import NIBBLE, SPARSE, mac_moves

SUMS = 50


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Sums of all modes and lengths in random order, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    items: list[ArrayItem] = []
    for _ in range(SUMS):
        mode = int(random.integers(4))
        items += summed(task, random, mode, 1 if mode == SPARSE else int(random.integers(1, 9)))
    await check(dut, task, pattern, items)


@cocotb.test()
async def an_item_a_cycle(dut: Any) -> None:
    """Sums of one item follow each other without a gap."""
    task = read_task()
    random = task.random("throughput")
    items = [summed(task, random, SPARSE, 1)[0] for _ in range(SUMS)]
    seen = await check(dut, task, "full", items)
    latency = task.config.latency_cycles
    assert seen["o"].cycles == list(range(latency, latency + SUMS))


def summed(task: Task, random: np.random.Generator, mode: int, count: int) -> list[ArrayItem]:
    """Return the items of random sums, one in each DSP."""
    unsigned = mode == NIBBLE and bool(random.integers(2))
    by_dsp = [drawn(random, mode, count, unsigned) for _ in range(task.config.dsps)]
    return [
        ArrayItem(
            mode,
            [Operands(own.low, own.high, own.factor, own.other) for own in items],
            items[0].first,
            items[0].last,
        )
        for items in zip(*by_dsp, strict=True)
    ]


async def check(dut: Any, task: Task, pattern: str, items: list[ArrayItem]) -> Any:
    """Run sums one after another; compare lanes and every cycle; return what moved."""
    expected = array_golden(task.config, items)
    horizon = 20 * len(items) + 100
    offer, ready = stalls(task.random(pattern + " stalls"), pattern, horizon)
    source = Source([payload(task, item) for item in items], offer)
    seen = await run(dut, {"i": source}, {"o": Sink(len(expected), ready)}, horizon)
    for bits, lanes in zip(seen["o"].items, expected, strict=True):
        found = task.unpack("o", bits)
        assert list(zip(found["low"], found["high"], strict=True)) == lanes
    lasts = [item.last for item in items]
    moves = mac_moves(lasts, task.config.latency_cycles, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted
    return seen


def payload(task: Task, item: ArrayItem) -> int:
    """Return an item as payload."""
    operands = [own._asdict() for own in item.operands]
    fields = {"mode": item.mode, "first": item.first, "last": item.last}
    return task.pack("i", {"operands": operands} | fields)
