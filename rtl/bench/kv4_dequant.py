"""Bench of the KV4 dequantiser."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, run, stalls
from rtl.bench.rows import spans
from rtl.bench.task import Task, read_task
from sim.blocks.handshake import pipeline_moves
from sim.blocks.kv4_dequant import MULTIPLIER_BITS, arguments_golden

HORIZON_CYCLES = 100_000


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Random keys, and the extremes of every field, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    items = [some_item(task, random) for _ in range(400)] + extremes(task)
    random.shuffle(items)  # type: ignore[arg-type]
    await check(dut, task, pattern, items)


@cocotb.test()
async def an_argument_a_cycle(dut: Any) -> None:
    """Without stalls one enters and one leaves in every cycle."""
    task = read_task()
    random = task.random("full")
    seen = await check(dut, task, "full", [some_item(task, random) for _ in range(100)])
    assert spans(seen["i"].cycles)
    assert spans(seen["o"].cycles)
    assert seen["o"].cycles[0] - seen["i"].cycles[0] == 6


def some_item(task: Task, random: np.random.Generator) -> dict[str, int]:
    """Return a key whose argument is often neither 0 nor saturated."""
    config = task.config
    query = random.integers(-127, 128, config.channels)
    codes = random.integers(0, 16, config.channels)
    exponent = int(random.integers(31))
    around = config.product_bits - int(random.integers(2, 36)) + max(exponent, 1)
    return {
        "dot": int(query @ codes),
        "query_sum": int(query.sum()),
        "zero": int(random.integers(16)),
        "scale": (exponent << 10) + int(random.integers(1024)),
        "multiplier": int(random.integers(1 << (MULTIPLIER_BITS - 1), 1 << MULTIPLIER_BITS)),
        "shift": int(np.clip(around if random.random() < 0.8 else random.integers(-128, 128),
                             -128, 127)),
        "tag": int(random.integers(1 << min(config.tag_bits, 62))),
    }  # fmt: skip


def extremes(task: Task) -> list[dict[str, int]]:
    """Return the largest sums of both signs at every exponent and at all bounds of the shift."""
    widest = task.config.channels * 127
    fields = []
    for sign in (1, -1, 0):
        for exponent in (0, 1, 15, 30):
            # zeros, the smallest and largest shifts, and those at which 0 and saturation begin
            for shift in (-128, -25, -24, -23, 0, 1, 45, 46, 47, 48, 77, 127):
                for zero, dot in ((0, 15 * widest), (15, 0), (15, 15 * widest)):
                    fields.append((sign * dot, sign * widest, zero, exponent, shift))
                fields.append((sign, sign, 0, exponent, shift))
    return [
        {
            "dot": dot,
            "query_sum": query_sum,
            "zero": zero,
            "scale": (exponent << 10) + 1023,
            "multiplier": (1 << MULTIPLIER_BITS) - 1,
            "shift": shift,
            "tag": 0,
        }
        for dot, query_sum, zero, exponent, shift in fields
    ]


async def check(dut: Any, task: Task, pattern: str, items: list[dict[str, int]]) -> dict[str, Seen]:
    """Run keys one after another; compare values and every cycle."""
    offer, ready = stalls(task.random(pattern + " stalls"), pattern, HORIZON_CYCLES)
    seen = await run(
        dut,
        {"i": Source([task.pack("i", item) for item in items], offer)},
        {"o": Sink(len(items), ready)},
        HORIZON_CYCLES,
    )
    names = ("dot", "query_sum", "zero", "scale", "multiplier", "shift")
    columns = [np.array([item[name] for item in items]) for name in names]
    wanted = arguments_golden(*columns)
    found = [task.unpack("o", bits) for bits in seen["o"].items]
    assert [item["argument"] for item in found] == wanted.tolist()
    assert [item["tag"] for item in found] == [item["tag"] for item in items]
    moves = pipeline_moves(len(items), task.config.latency_cycles, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted
    return seen
