"""Bench of the key and value buffer."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.task import Task, read_task
from sim.blocks.line_buffer import Fill, Read, buffer_moves, without_lsbs

MATRICES = 14
HORIZON = 40_000


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Matrices with and without LSBs added later, masked rows, lines read in any order."""
    task = read_task()
    config, random = task.config, task.random(pattern)
    contents = np.zeros((config.halves, config.lines, config.rows, config.channels), np.int64)
    fills: list[Fill] = []
    items: list[int] = []
    reads: list[Read] = []
    expected: list[np.ndarray] = []
    for number in range(MATRICES):
        at = number % config.halves
        half = contents[at]
        lines = (
            config.lines if number < config.halves else int(random.integers(1, config.lines + 1))
        )
        whole = number < config.halves  # so that nothing is read that was never written
        before_end = number % 2 == 0  # LSBs come while the matrix fills, else when it is full
        for line in range(lines):
            if before_end and line == lines - 1:
                _lsbs(task, random, half, (at, lines - 1), fills, items)
            last = line == lines - 1
            _fill(task, random, half, Fill(line, False, at, last), fills, items, whole)
        known = half.copy() if before_end else without_lsbs(config, half)
        if not before_end:
            _lsbs(task, random, half, (at, lines), fills, items)
        asked = random.integers(0, lines, int(random.integers(1, 12))).tolist()
        apart = bool(random.random() < 0.3)  # release without a line
        for place, line in enumerate(asked):
            reads.append(Read(line, before_end, place == len(asked) - 1 and not apart))
            expected.append(known[line].copy())
        if apart:
            reads.append(Read(0, False, True, skip=True))
    await _check(dut, task, pattern, (fills, items), (reads, expected))


def _lsbs(
    task: Task,
    random: np.random.Generator,
    half: np.ndarray,
    place: tuple[int, int],
    fills: list[Fill],
    items: list[int],
) -> None:
    """Add the LSBs of the first lines of a half."""
    at, lines = place
    for line in range(lines):
        _fill(task, random, half, Fill(line, True, at, line == lines - 1), fills, items, False)


def _fill(
    task: Task,
    random: np.random.Generator,
    half: np.ndarray,
    fill: Fill,
    fills: list[Fill],
    items: list[int],
    full_rows: bool,
) -> None:
    """Add one line's write, and do it in the model of the contents."""
    config = task.config
    top = 1 << (config.width_bits - 1)
    values = random.integers(-top, top, (config.rows, config.channels))
    mask = random.random(config.rows) < (2 if full_rows else 0.8)
    low = (1 << config.lsb_bits) - 1
    line = half[fill.line]
    written = (line & ~low) | (values & low) if fill.lsb else values
    line[mask] = written[mask]
    fills.append(fill)
    bits = sum(int(kept) << row for row, kept in enumerate(mask))
    items.append(
        task.pack(
            "fill",
            {
                "data": values,
                "mask": bits,
                "line": fill.line,
                "lsb": fill.lsb,
                "half": fill.half,
                "last": fill.last,
            },
        )
    )


async def _check(
    dut: Any,
    task: Task,
    pattern: str,
    written: tuple[list[Fill], list[int]],
    wanted: tuple[list[Read], list[np.ndarray]],
) -> None:
    (fills, items), (reads, expected) = written, wanted
    random = task.random(pattern + " stalls")
    offer_fill, _ = stalls(random, pattern, HORIZON)
    offer_read, ready = stalls(random, pattern, HORIZON)
    asked = [task.pack("read", read._asdict()) for read in reads]
    seen = await run(
        dut,
        {"fill": Source(items, offer_fill), "read": Source(asked, offer_read)},
        {"o": Sink(len(expected), ready)},
        HORIZON,
    )
    for bits, line in zip(seen["o"].items, expected, strict=True):
        assert task.unpack("o", bits)["data"] == line.tolist()
    moves = buffer_moves(task.config, fills, reads, offer_fill, offer_read, ready)
    assert seen["fill"].cycles == moves.fills[: len(seen["fill"].cycles)]
    assert seen["read"].cycles == moves.reads[: len(seen["read"].cycles)]
    assert seen["o"].cycles == moves.outputs
