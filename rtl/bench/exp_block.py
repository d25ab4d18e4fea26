"""Bench of the block-scaled exponentials."""

from __future__ import annotations

from typing import Any, NamedTuple

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, run, stalls
from rtl.bench.rows import spans
from rtl.bench.task import Task, read_task
from sim.blocks.exp_block import IntArray, exp_block_golden
from sim.blocks.exp_block_stream import exp_block_latency, exp_block_moves

HORIZON_CYCLES = 100_000
TOP = 1 << 23  # arguments are within -TOP..TOP - 1


class Keys(NamedTuple):
    """A block."""

    arguments: IntArray
    scales: IntArray  # FP16 bits
    zeros: IntArray
    ends: bool


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Blocks of all lengths with ordinary and extreme keys, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    most = task.config.block
    lengths = [1, most, most, max(1, most - 1), *random.integers(1, most + 1, 12).tolist()]
    lengths += [1] * 5
    blocks = [some_block(random, n) for n in lengths] + extreme_blocks(random, most)
    random.shuffle(blocks)  # type: ignore[arg-type]
    await check(dut, task, pattern, blocks)


@cocotb.test()
@cocotb.parametrize(length=("one key", "longest", "mixed"))
async def a_key_a_cycle(dut: Any, length: str) -> None:
    """Blocks one behind another: a key is taken every cycle; equal blocks leave without gap."""
    task = read_task()
    random, most = task.random(length), task.config.block
    lengths = {
        "one key": [1] * 60,
        "longest": [most] * 5,
        "mixed": [1] * 20 + [most] + [1] * 20 + random.integers(1, most + 1, 8).tolist(),
    }[length]
    seen = await check(dut, task, "full", [some_block(random, n) for n in lengths])
    assert spans(seen["i"].cycles)
    if length != "mixed":
        assert spans(seen["weights"].cycles)
        n = lengths[0]
        latency = seen["weights"].cycles[0] - seen["i"].cycles[n - 1]
        assert latency == exp_block_latency(n) == n + 10


def some_block(random: np.random.Generator, n: int) -> Keys:
    """Return keys whose arguments and scales spread by some width."""
    spread = 1 << int(random.integers(1, 24))
    centre = int(random.integers(-TOP, TOP))
    arguments = np.clip(centre + random.integers(-spread, spread, n), -TOP, TOP - 1)
    low, high = sorted(random.integers(0, 31, 2).tolist())
    scales = (random.integers(low, high + 1, n) << 10) + random.integers(0, 1024, n)
    return Keys(arguments, scales, random.integers(0, 16, n), bool(random.integers(2)))


def extreme_blocks(random: np.random.Generator, most: int) -> list[Keys]:
    """Return blocks at the bounds of arguments, scales and weights."""
    found = []
    for argument in (-TOP, TOP - 1, 0, 1, -1, 1024, -1023):
        for bits in (0, 1, 0x3FF, 0x400, 0x7BFF):
            arguments, scales = np.full(most, argument), np.full(most, bits)
            found.append(Keys(arguments, scales, np.full(most, 15), True))
    # one key stands out: all others at distances around those where nothing is left of them
    for distance in (17 * 1024, 16 * 1024 + 1023, 18 * 1024, 2 * TOP - 1):
        arguments = np.full(most, max(TOP - 1 - distance, -TOP))
        arguments[int(random.integers(most))] = TOP - 1
        found.append(Keys(arguments, np.full(most, 0x3C00), np.full(most, 1), False))
    # weights at the halves where rounding turns, and at 255.5 where they are cut
    scales = (0x3C00 + np.arange(most) * 7) % 0x4000
    scales[0] = 0x3FFF
    found.append(Keys(np.zeros(most, np.int64), scales, np.arange(most) % 16, True))
    return found


async def check(dut: Any, task: Task, pattern: str, blocks: list[Keys]) -> dict[str, Seen]:
    """Run blocks one after another; compare weights, what is known of blocks, and every cycle."""
    random = task.random(pattern + " stalls")
    offer, weight_ready = stalls(random, pattern, HORIZON_CYCLES)
    _, block_ready = stalls(random, pattern, HORIZON_CYCLES)
    items = [task.pack("i", item) for block in blocks for item in keys_of(block)]
    seen = await run(
        dut,
        {"i": Source(items, offer)},
        {"weights": Sink(len(items), weight_ready), "blocks": Sink(len(blocks), block_ready)},
        HORIZON_CYCLES,
    )
    golden = [exp_block_golden(block.arguments, block.scales, block.zeros) for block in blocks]
    assert [task.unpack("weights", bits) for bits in seen["weights"].items] == [
        {"weight": weight, "last": number == len(one.weights) - 1}
        for one in golden
        for number, weight in enumerate(one.weights.tolist())
    ]
    assert [task.unpack("blocks", bits) for bits in seen["blocks"].items] == [
        {
            "maximum": one.maximum,
            "total": one.total,
            "exponent": one.exponent,
            "zero_sum": one.zero_sum,
            "ends": block.ends,
        }
        for one, block in zip(golden, blocks, strict=True)
    ]
    lengths = [len(block.arguments) for block in blocks]
    moves = exp_block_moves(task.config, lengths, offer, weight_ready, block_ready)
    assert seen["i"].cycles == moves.keys
    assert seen["weights"].cycles == moves.weights
    assert seen["blocks"].cycles == moves.blocks
    return seen


def keys_of(block: Keys) -> list[dict[str, int]]:
    """Return the fields of a block's items; `ends` is set only with its last."""
    n = len(block.arguments)
    columns = (block.arguments.tolist(), block.scales.tolist(), block.zeros.tolist())
    return [
        {
            "argument": argument,
            "scale": scale,
            "zero": zero,
            "last": number == n - 1,
            "ends": number == n - 1 and block.ends,
        }
        for number, (argument, scale, zero) in enumerate(zip(*columns, strict=True))
    ]
