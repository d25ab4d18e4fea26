"""Bench of the requantisation decision."""

from __future__ import annotations

from typing import Any, NamedTuple

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Seen, Sink, Source, accepted, run, stalls
from rtl.bench.rows import beats_of, spans
from rtl.bench.task import Task, read_task
from sim.blocks.requant import IntArray, requant_golden
from sim.blocks.requant_stream import RequantRow, requant_moves

HORIZON_CYCLES = 100_000


class Row(NamedTuple):
    """Probabilities of a row and the request that goes with them."""

    probabilities: IntArray
    threshold: int
    lsb_allowed: bool

    @property
    def recompute(self) -> bool:
        """Whether the row must be recomputed."""
        flat = bool(requant_golden(self.probabilities[np.newaxis], self.threshold)[0])
        return self.lsb_allowed and flat


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Rows of all lengths, kept and recomputed, with random stalls."""
    task = read_task()
    random = task.random(pattern)
    rows = [some_row(task, random, n) for n in lengths_of(task, random) for _ in range(3)]
    rows += extreme_rows(task)
    random.shuffle(rows)  # type: ignore[arg-type]
    await check(dut, task, pattern, rows)


@cocotb.test()
@cocotb.parametrize(length=("one beat", "longest", "mixed"))
async def a_beat_a_cycle(dut: Any, length: str) -> None:
    """Rows one behind another: a beat is taken every cycle, and kept rows leave without gap."""
    task = read_task()
    config, random = task.config, task.random(length)
    longest = config.fifo_rows * config.lanes
    lengths = {
        "one beat": [config.lanes] * 200,
        "longest": [longest] * 6,
        "mixed": [1] * 40 + [longest] + [1] * 40 + random.integers(1, longest + 1, 8).tolist(),
    }[length]
    rows = [some_row(task, random, n) for n in lengths]
    if length != "mixed":
        rows = [row._replace(lsb_allowed=False) for row in rows]
    seen = await check(dut, task, "full", rows)
    assert spans(seen["i"].cycles)
    if length != "mixed":
        assert spans(seen["o"].cycles)
        last = -(-lengths[0] // config.lanes) - 1
        assert seen["decision"].cycles[0] - seen["i"].cycles[last] == 1
        assert seen["o"].cycles[0] - seen["i"].cycles[last] == 3


@cocotb.test()
async def too_long_a_row_is_not_taken(dut: Any) -> None:
    """A row that does not end: `fifo_rows` beats are taken and nothing behind them."""
    task = read_task()
    lanes = task.config.lanes
    beat = {"data": [1] * lanes, "count": lanes, "last": 0}
    request = {"threshold": 1, "lsb_allowed": 1}
    items = {"request": task.pack("request", request), "i": task.pack("i", beat)}
    counts = await accepted(dut, items, 3 * task.config.fifo_rows + 20)
    assert counts == {"request": 1, "i": task.config.fifo_rows}


def lengths_of(task: Task, random: np.random.Generator) -> list[int]:
    """Return row lengths at the bounds and between."""
    lanes, longest = task.config.lanes, task.config.fifo_rows * task.config.lanes
    found = [1, lanes - 1, lanes, lanes + 1, longest - 1, longest]
    found += random.integers(1, longest + 1, 3).tolist()
    found += random.integers(1, min(3 * lanes, longest) + 1, 12).tolist()
    return [length for length in found if 1 <= length <= longest]


def some_row(task: Task, random: np.random.Generator, n: int) -> Row:
    """Return a row whose threshold is often its largest probability or one above."""
    probabilities = random.integers(0, 1 << int(random.integers(task.config.width_bits + 1)), n)
    highest = (1 << task.config.width_bits) - 1
    largest = int(probabilities.max())
    threshold = int(random.choice([0, largest, largest + 1, random.integers(highest + 1)]))
    return Row(probabilities, min(threshold, highest), bool(random.random() < 0.8))


def extreme_rows(task: Task) -> list[Row]:
    """Return rows with equal probabilities and with one that stands out in any place of a beat."""
    highest, lanes = (1 << task.config.width_bits) - 1, task.config.lanes
    rows = [Row(np.full(lanes, value), highest, True) for value in (0, highest)]
    for place in range(lanes):
        rows.append(Row(np.where(np.arange(lanes) == place, highest, 0), highest, True))
    return rows


async def check(dut: Any, task: Task, pattern: str, rows: list[Row]) -> dict[str, Seen]:
    """Run rows one after another; compare decisions, beats and every cycle."""
    config, random = task.config, task.random(pattern + " stalls")
    requests = [
        task.pack("request", {"threshold": row.threshold, "lsb_allowed": row.lsb_allowed})
        for row in rows
    ]
    noise = random.integers(0, 1 << config.width_bits, config.lanes).tolist()
    beats = [beats_of(row.probabilities, config.lanes, noise) for row in rows]
    items = [task.pack("i", beat) for of_row in beats for beat in of_row]
    kept = [
        beat for row, of_row in zip(rows, beats, strict=True) if not row.recompute
        for beat in of_row
    ]  # fmt: skip
    offer, ready = stalls(random, pattern, HORIZON_CYCLES)
    offer_request, decision_ready = stalls(random, pattern, HORIZON_CYCLES)
    seen = await run(
        dut,
        {"request": Source(requests, offer_request), "i": Source(items, offer)},
        {"decision": Sink(len(rows), decision_ready), "o": Sink(len(kept), ready)},
        HORIZON_CYCLES,
    )
    decisions = [task.unpack("decision", bits)["recompute"] for bits in seen["decision"].items]
    assert decisions == [int(row.recompute) for row in rows]
    assert [task.unpack("o", bits) for bits in seen["o"].items] == kept
    timed = [RequantRow(len(row.probabilities), row.recompute) for row in rows]
    moves = requant_moves(config, timed, offer_request, offer, decision_ready, ready)
    assert seen["request"].cycles == moves.requests
    assert seen["i"].cycles == moves.rows
    assert seen["decision"].cycles == moves.decisions
    assert seen["o"].cycles == moves.outputs
    return seen
