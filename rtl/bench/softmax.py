"""Bench of the softmax unit."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, accepted, run, stalls
from rtl.bench.rows import beats_of, spans
from rtl.bench.task import Task, read_task
from sim.blocks.softmax import (
    MULTIPLIER_BITS,
    MULTIPLIER_FRACTION_BITS,
    IntArray,
    softmax_golden,
)
from sim.blocks.softmax_stream import softmax_latency, softmax_moves

HORIZON_CYCLES = 100_000


class Row(NamedTuple):
    """Scores of a row and the multiplier that goes with them."""

    scores: IntArray
    multiplier: int


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Rows of all lengths, of ordinary and extreme scores, with random stalls."""
    task = read_task()
    await check(dut, task, pattern, mixed_rows(task, task.random(pattern)))


@cocotb.test()
@cocotb.parametrize(length=("one beat", "longest", "mixed"))
async def a_beat_a_cycle(dut: Any, length: str) -> None:
    """Rows one behind another: a beat is taken every cycle; equal rows leave without gap."""
    task = read_task()
    config, random = task.config, task.random(length)
    longest = config.fifo_elements
    lengths = {
        "one beat": [config.lanes] * 200,
        "longest": [longest] * 6,
        "mixed": [1] * 60 + [longest] + [1] * 60 + random.integers(1, longest + 1, 8).tolist(),
    }[length]
    rows = [Row(some_scores(task, random, n), some_multiplier(random)) for n in lengths]
    seen = await check(dut, task, "full", rows)
    assert spans(seen["i"].cycles)
    if length != "mixed":
        assert spans(seen["o"].cycles)
        first = config.cycles(lengths[0])
        latency = softmax_latency(config, first)
        assert seen["o"].cycles[0] - seen["i"].cycles[first - 1] == latency
        assert latency == first + config.prob_bits + 26


@cocotb.test()
async def close_to_real_softmax(dut: Any) -> None:
    """Probabilities are within 1.5 steps of float64.

    Beyond 12 bits the steps are those of 12: the exponentials are no finer.
    """
    task = read_task()
    config, random = task.config, task.random("real")
    top = 1 << (config.score_bits - 1)
    for scale in (1 / top, 8 / top):
        multiplier = min(round(scale * math.log2(math.e) * (1 << MULTIPLIER_FRACTION_BITS)),
                         (1 << MULTIPLIER_BITS) - 1)  # fmt: skip
        used = multiplier / (math.log2(math.e) * (1 << MULTIPLIER_FRACTION_BITS))
        rows = [Row(random.integers(-top, top, n), multiplier) for n in lengths_of(task, random)]
        seen = await check(dut, task, "full", rows)
        beats = iter(seen["o"].items)
        for row in rows:
            found: list[int] = []
            while len(found) < len(row.scores):
                fields = task.unpack("o", next(beats))
                found += fields["data"][: fields["count"]]
            real = np.exp((row.scores - row.scores.max()) * used)
            error = np.abs(np.array(found) / ((1 << config.prob_bits) - 1) - real / real.sum())
            assert error.max() <= 1.5 / (1 << min(config.prob_bits, 12))


@cocotb.test()
async def too_long_a_row_is_not_taken(dut: Any) -> None:
    """A row that does not end: `fifo_rows` beats are taken and nothing behind them."""
    task = read_task()
    lanes = task.config.lanes
    beat = {"data": [1] * lanes, "count": lanes, "last": 0}
    items = {"request": task.pack("request", {"multiplier": 1}), "i": task.pack("i", beat)}
    counts = await accepted(dut, items, 3 * task.config.fifo_rows + 20)
    assert counts == {"request": 1, "i": task.config.fifo_rows}


def lengths_of(task: Task, random: np.random.Generator) -> list[int]:
    """Return row lengths at the bounds and between."""
    lanes, longest = task.config.lanes, task.config.fifo_elements
    bounds = [1, lanes - 1, lanes, lanes + 1, longest - 1, longest]
    found = [*bounds, *random.integers(1, longest + 1, 8).tolist()]
    found += random.integers(1, min(3 * lanes, longest) + 1, 8).tolist()
    return [length for length in found if 1 <= length <= longest]


def mixed_rows(task: Task, random: np.random.Generator) -> list[Row]:
    """Return rows of all lengths with scores of all kinds, in random order."""
    top = 1 << (task.config.score_bits - 1)
    rows = [
        Row(some_scores(task, random, n), some_multiplier(random)) for n in lengths_of(task, random)
    ]
    for n in (1, task.config.lanes, min(2 * task.config.lanes + 1, task.config.fifo_elements)):
        one_large = np.full(n, -top)
        one_large[int(random.integers(n))] = top - 1
        for scores in (one_large, np.full(n, top - 1), np.full(n, -top), -1 - one_large):
            multiplier = int(random.choice([0, 1, (1 << MULTIPLIER_BITS) - 1]))
            rows.append(Row(scores, multiplier))
    for _ in range(40):
        n = int(random.integers(1, min(4 * task.config.lanes, task.config.fifo_elements) + 1))
        rows.append(Row(some_scores(task, random, n), some_multiplier(random)))
    random.shuffle(rows)  # type: ignore[arg-type]
    return rows


def some_scores(task: Task, random: np.random.Generator, n: int) -> IntArray:
    """Return scores of some width; the widest are as wide as the unit takes."""
    top = 1 << int(random.integers(1, task.config.score_bits))
    return random.integers(-top, top, n)


def some_multiplier(random: np.random.Generator) -> int:
    """Return a multiplier of some width."""
    return int(random.integers(1 << int(random.integers(1, MULTIPLIER_BITS + 1))))


async def check(dut: Any, task: Task, pattern: str, rows: list[Row]) -> dict[str, Seen]:
    """Run rows one after another; compare values and every cycle."""
    config, random = task.config, task.random(pattern + " stalls")
    requests = [task.pack("request", {"multiplier": row.multiplier}) for row in rows]
    noise = random.integers(0, 1 << (config.score_bits - 1), config.lanes).tolist()
    items = [
        task.pack("i", beat) for row in rows for beat in beats_of(row.scores, config.lanes, noise)
    ]
    outputs = [
        beat
        for row in rows
        for beat in beats_of(
            softmax_golden(config, row.scores[np.newaxis], row.multiplier)[0],
            config.lanes,
            [0] * config.lanes,
        )
    ]
    offer, ready = stalls(random, pattern, HORIZON_CYCLES)
    offer_request, _ = stalls(random, pattern, HORIZON_CYCLES)
    seen = await run(
        dut,
        {"request": Source(requests, offer_request), "i": Source(items, offer)},
        {"o": Sink(len(outputs), ready)},
        HORIZON_CYCLES,
    )
    assert [task.unpack("o", bits) for bits in seen["o"].items] == outputs
    moves = softmax_moves(config, [len(row.scores) for row in rows], offer_request, offer, ready)
    assert seen["request"].cycles == moves.requests
    assert seen["i"].cycles == moves.rows
    assert seen["o"].cycles == moves.outputs
    return seen
