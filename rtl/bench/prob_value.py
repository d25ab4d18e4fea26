"""Bench of the array that weights values by probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.operands import draw, into_segments
from rtl.bench.task import Task, read_task
from sim.blocks.dotprod import prob_value_golden
from sim.blocks.dotprod_stream import ArrayStalls, array_moves

ROWS = 1024
"""Value rows of a query that a sum must hold."""


@dataclass(frozen=True)
class Weighting:
    """Value rows of a query and the probability of each."""

    dim_log2: int
    probabilities: Any  # (rows,), at least one
    values: Any  # (rows, dim)


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Heads of all dimensions in random order, odd numbers of rows, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    dims = [*range(task.config.multipliers.bit_length())] * 2
    random.shuffle(dims)
    given = [weighting(task, random, dim, int(random.integers(1, 5))) for dim in dims]
    await check(dut, task, pattern, given)


@cocotb.test()
async def the_longest_context(dut: Any) -> None:
    """1,024 rows of most negative values at the largest probability do not overflow a sum."""
    task = read_task()
    width, levels = task.config.width_bits, task.config.multipliers.bit_length() - 1
    dim_log2 = max(0, levels - task.config.max_rows_per_cycle.bit_length() + 1)
    values = np.full((ROWS, 1 << dim_log2), -(1 << (width - 1)))
    probabilities = np.full(ROWS, (1 << width) - 1)
    await check(dut, task, "full", [Weighting(dim_log2, probabilities, values)])


@cocotb.test()
async def a_line_a_cycle(dut: Any) -> None:
    """Queries of one line and of more follow each other without a gap."""
    task = read_task()
    random = task.random("throughput")
    dims = random.integers(0, task.config.multipliers.bit_length(), 24).tolist()
    given = [weighting(task, random, dim, 1 + number % 3) for number, dim in enumerate(dims)]
    seen = await check(dut, task, "full", given)
    assert seen["i"].cycles == list(range(len(seen["i"].cycles)))
    ends = np.cumsum([1 + number % 3 for number in range(len(dims))]) - 1
    assert seen["o"].cycles == (ends + task.config.latency_cycles).tolist()


def weighting(task: Task, random: np.random.Generator, dim_log2: int, lines: int) -> Weighting:
    """Return random operands whose rows fill some lines, the last one in part."""
    width = task.config.width_bits
    dim = int(random.integers((1 << dim_log2) // 2 + 1, (1 << dim_log2) + 1))
    rows = per_line(task, dim_log2) * (lines - 1)
    rows += int(random.integers(1, per_line(task, dim_log2) + 1))
    half = 1 << (width - 1)
    probabilities = draw(random, (rows,), 0, (1 << width) - 1)
    return Weighting(dim_log2, probabilities, draw(random, (rows, dim), -half, half - 1))


def per_line(task: Task, dim_log2: int) -> int:
    """Return the value rows of a line."""
    return int(min(task.config.max_rows_per_cycle, task.config.multipliers >> dim_log2))


async def check(dut: Any, task: Task, pattern: str, given: list[Weighting]) -> Any:
    """Run weightings one after another; compare sums and every cycle; return what moved."""
    random = task.random(pattern + " stalls")
    lines = [line for weighting in given for line in lines_of(task, weighting)]
    horizon = 100 * (len(lines) + 10)
    offer, ready = stalls(random, pattern, horizon)
    offer_request, _ = stalls(random, pattern, horizon)
    requests = [task.pack("request", {"dim_log2": weighting.dim_log2}) for weighting in given]
    items = [task.pack("i", line) for line in lines]
    seen = await run(
        dut,
        {"request": Source(requests, offer_request), "i": Source(items, offer)},
        {"o": Sink(len(given), ready)},
        horizon,
    )
    for weighting, bits in zip(given, seen["o"].items, strict=True):
        sums = prob_value_golden(weighting.probabilities[None], weighting.values)[0].tolist()
        zeros = [0] * (task.config.multipliers - len(sums))
        assert task.unpack("o", bits) == {"data": sums + zeros}
    moves = array_moves(
        [line["last"] for line in lines],
        task.config.latency_cycles,
        ArrayStalls(offer_request, offer, ready),
        sums_lines=True,
    )
    assert seen["request"].cycles == moves.operands
    assert seen["i"].cycles == moves.lines
    assert seen["o"].cycles == moves.outputs
    return seen


def lines_of(task: Task, given: Weighting) -> list[dict[str, Any]]:
    """Return the lines that the rows fill; rows beyond the count hold noise."""
    config, step = task.config, per_line(task, given.dim_log2)
    segment = max(1 << given.dim_log2, config.multipliers // config.max_rows_per_cycle)
    used, half = step * segment, 1 << (config.width_bits - 1)
    noise = task.random("noise").integers(0, half, config.multipliers)
    lines = []
    for start in range(0, len(given.values), step):
        rows = given.values[start : start + step]
        values = into_segments(rows, segment, config.multipliers)
        values[len(rows) * segment : used] = noise[len(rows) * segment : used]
        probabilities = given.probabilities[start : start + step].tolist()
        lines.append(
            {
                "values": values.tolist(),
                "probabilities": probabilities + noise[len(rows) : step].tolist(),
                "count": len(rows),
                "last": start + step >= len(given.values),
            }
        )
    return lines
