"""Bench of the group dequantizer."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.operands import draw
from rtl.bench.task import Task, read_task
from sim.blocks.group_dequant import Group, dequant_golden
from sim.blocks.packed_mac import mac_moves

LARGEST = 0x3BFF  # FP16: the largest number below 1


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Rows of 1 to 6 groups for several tokens in turn, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    groups: list[Group] = []
    for _ in range(16):
        tokens, count = int(random.integers(1, task.config.tokens + 1)), int(random.integers(1, 7))
        for number in range(count):
            ends = {"first": number == 0, "last": number == count - 1}
            groups += [drawn(task, random, token, **ends) for token in range(tokens)]
    await check(dut, task, pattern, groups)


@cocotb.test()
async def every_exponent(dut: Any) -> None:
    """Scales of all exponents, subnormal ones too, with the ends of their fractions."""
    task = read_task()
    random = task.random("scales")
    scales = [e << 10 | fraction for e in range(15) for fraction in (0, 1, 0x155, 0x3FF)]
    await check(dut, task, "full", [drawn(task, random, 0, scale=scale) for scale in scales])


@cocotb.test()
async def largest_sums(dut: Any) -> None:
    """The largest groups with all zero points and the largest scale."""
    task = read_task()
    kept = task.config.inputs // 2 * 127
    groups = [
        Group(sign * 3 * kept, sign * kept, LARGEST, zero, 0, number == 0, number == 19)
        for sign in (-1, 1)
        for zero in range(4)
        for number in range(20)
    ]
    await check(dut, task, "full", groups)


def drawn(
    task: Task,
    random: np.random.Generator,
    token: int,
    first: bool = True,
    last: bool = True,
    scale: int | None = None,
) -> Group:
    """Return the sums of a group of random codes and activations."""
    count = task.config.inputs // 2
    codes, activations = draw(random, (count,), 0, 3), draw(random, (count,), -127, 127)
    products, kept = int(codes @ activations), int(activations.sum())
    scale = int(random.integers(LARGEST + 1)) if scale is None else scale
    return Group(products, kept, scale, int(random.integers(4)), token, first, last)


async def check(dut: Any, task: Task, pattern: str, groups: list[Group]) -> None:
    """Run groups one after another; compare sums and every cycle."""
    expected = dequant_golden(groups)
    horizon = 20 * len(groups) + 100
    offer, ready = stalls(task.random(pattern + " stalls"), pattern, horizon)
    source = Source([payload(task, group) for group in groups], offer)
    seen = await run(dut, {"i": source}, {"o": Sink(len(expected), ready)}, horizon)
    assert [task.unpack("o", bits)["sum"] for bits in seen["o"].items] == expected
    lasts = [group.last for group in groups]
    moves = mac_moves(lasts, task.config.latency_cycles, offer, ready)
    assert seen["i"].cycles == moves.accepted
    assert seen["o"].cycles == moves.emitted


def payload(task: Task, given: Group) -> int:
    """Return a group as payload."""
    group = {name: getattr(given, name) for name in ("products", "kept", "scale", "zero")}
    place = {name: getattr(given, name) for name in ("token", "first", "last")}
    return task.pack("i", {"group": group, "place": place})
