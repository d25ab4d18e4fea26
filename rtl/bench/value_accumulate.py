"""Bench of the running sums of attention."""

from __future__ import annotations

from typing import Any, NamedTuple

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, run, stalls
from rtl.bench.rows import spans
from rtl.bench.task import Task, read_task
from sim.blocks.exp_block import ExpBlock, IntArray, exp_block_golden
from sim.blocks.value_accumulate import row_golden
from sim.blocks.value_accumulate_stream import value_accumulate_moves

HORIZON_CYCLES = 100_000
TOP = 1 << 23  # arguments are within -TOP..TOP - 1
LARGEST = 0x53FF  # FP16 bits of the largest number below 64


class Summed(NamedTuple):
    """A block and its sums of weights times codes."""

    block: ExpBlock
    raw: IntArray  # (channels,)


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Rows of few and many blocks, of ordinary and extreme keys, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    widths = [1, task.config.beats, *random.integers(1, task.config.beats + 1, 4).tolist()]
    rows = [some_row(task, random, beats) for beats in widths for _ in range(2)]
    rows += [*steps(task, random), *largest(task, random)]
    random.shuffle(rows)  # type: ignore[arg-type]
    await check(dut, task, pattern, rows)


@cocotb.test()
async def a_beat_a_cycle(dut: Any) -> None:
    """Without stalls a block takes 3 cycles and one for each beat; a row's end 25 more."""
    task = read_task()
    random, beats = task.random("full"), task.config.beats
    seen = await check(dut, task, "full", [some_row(task, random, beats, 3) for _ in range(2)])
    taken, first = seen["sums"].cycles, seen["blocks"].cycles[0]
    assert taken[0] == first + 3
    assert spans(taken[:beats])
    assert seen["blocks"].cycles[1] == taken[beats - 1] + 1
    assert seen["o"].cycles[0] == taken[3 * beats - 1] + 25
    assert spans(seen["o"].cycles[:beats])
    assert seen["blocks"].cycles[3] == seen["o"].cycles[beats - 1] + 1


def some_block(task: Task, random: np.random.Generator, centre: int, channels: int) -> Summed:
    """Return keys whose arguments lie around a centre."""
    n = int(random.integers(1, task.config.block + 1))
    spread = 1 << int(random.integers(1, 14))
    arguments = np.clip(centre + random.integers(-spread, spread, n), -TOP, TOP - 1)
    low, high = sorted(random.integers(0, 21, 2).tolist())
    scales = (random.integers(low, high + 1, n) << 10) + random.integers(0, 1024, n)
    codes = random.integers(0, 16, (n, channels))
    block = exp_block_golden(arguments, scales, random.integers(0, 16, n))
    return Summed(block, block.weights @ codes)


def some_row(
    task: Task, random: np.random.Generator, beats: int, blocks: int | None = None
) -> list[Summed]:
    """Return blocks whose exponents are near one another or far apart."""
    spread = 1 << int(random.integers(1, 23))
    count = int(random.integers(1, 6)) if blocks is None else blocks
    return [
        some_block(task, random, int(random.integers(-spread, spread)), beats * task.config.lanes)
        for _ in range(count)
    ]


def steps(task: Task, random: np.random.Generator) -> list[list[Summed]]:
    """Return rows of two blocks whose exponents differ by every shift that leaves something."""
    rows = []
    for gap in (0, 1, 2, 16, 17, 38, 39, 40, 41, 47, 48, 62, 63, 64, 65, 16_000):
        centres = [-gap << 9, gap << 9]
        for order in (centres, centres[::-1]):
            rows.append([some_block(task, random, c, task.config.lanes) for c in order])
    return rows


def largest(task: Task, random: np.random.Generator) -> list[list[Summed]]:
    """Return rows of the largest sums of both signs, and one of many equal blocks."""
    n, lanes = task.config.block, task.config.lanes
    rows = []
    for argument in (0, 1):
        for code, zero in ((15, 0), (0, 15), (0, 0)):
            block = exp_block_golden(np.full(n, argument), np.full(n, LARGEST), np.full(n, zero))
            rows.append([Summed(block, np.full(lanes, int(block.weights.sum()) * code))] * 6)
    # rounding weights up adds most to a quotient: all but one just above a half
    scales = np.full(n, LARGEST)
    arguments = np.full(n, -8 * 1024 - 1000)
    arguments[0] = 0
    for code in (0, 15):
        block = exp_block_golden(arguments, scales, np.full(n, 15 - code))
        rows.append([Summed(block, np.full(lanes, int(block.weights.sum()) * code))])
    # the smallest total, one exponential of just above a half, and the smallest divisor
    for argument in (-1023, 0):
        block = exp_block_golden([argument], [LARGEST], [0])
        rows.append([Summed(block, block.weights * np.full(lanes, 15))])
    return rows


async def check(dut: Any, task: Task, pattern: str, rows: list[list[Summed]]) -> dict[str, Seen]:
    """Run rows one after another; compare outputs and every cycle."""
    random, lanes = task.random(pattern + " stalls"), task.config.lanes
    offer_block, ready = stalls(random, pattern, HORIZON_CYCLES)
    offer_sums, _ = stalls(random, pattern, HORIZON_CYCLES)
    blocks, sums, outputs, timed = [], [], [], []
    for row in rows:
        for number, (block, raw) in enumerate(row):
            ends = number == len(row) - 1
            facts = {name: getattr(block, name) for name in block._fields if name != "weights"}
            blocks.append(task.pack("blocks", facts | {"ends": ends}))
            sums += [task.pack("sums", beat) for beat in beats_of(raw, lanes)]
            timed.append((len(raw) // lanes, ends))
        outputs += beats_of(row_golden(row), lanes)
    seen = await run(
        dut,
        {"blocks": Source(blocks, offer_block), "sums": Source(sums, offer_sums)},
        {"o": Sink(len(outputs), ready)},
        HORIZON_CYCLES,
    )
    assert [task.unpack("o", bits) for bits in seen["o"].items] == outputs
    moves = value_accumulate_moves(timed, offer_block, offer_sums, ready)
    assert seen["blocks"].cycles == moves.blocks
    assert seen["sums"].cycles == moves.sums
    assert seen["o"].cycles == moves.outputs
    return seen


def beats_of(channels: IntArray, lanes: int) -> list[dict[str, Any]]:
    """Return the fields of the beats of a row's channels."""
    rows = channels.reshape(-1, lanes).tolist()
    return [{"data": row, "last": number == len(rows) - 1} for number, row in enumerate(rows)]
