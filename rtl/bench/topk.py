"""Bench of the top-k engine."""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.task import Task, read_task
from sim.blocks.topk import filter_cycles
from sim.blocks.topk_stream import Selection, engine_moves, output_rows, rows_of


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Vectors of all lengths, distinct, tied and equal, of any k, with random stalls."""
    task = read_task()
    await check(dut, task, pattern, selections(task, task.random(pattern)))


@cocotb.test()
async def a_full_vector_at_full_speed(dut: Any) -> None:
    """The median of the longest vector: the cycles are the passes' and the filter's."""
    task = read_task()
    depth = task.config.depth
    random = task.random("full vector")
    scores = random.integers(0, 1 << task.config.width_bits, depth)
    await check(dut, task, "full", [Selection(scores, depth // 2)])


def selections(task: Task, random: np.random.Generator) -> list[Selection]:
    """Return vectors at the bounds and between."""
    depth, lanes = task.config.depth, task.config.lanes
    lengths = {0, 1, lanes - 1, lanes, lanes + 1, depth - 1, depth}
    lengths |= set(random.integers(0, depth + 1, 12).tolist())
    found = []
    for n in sorted(length for length in lengths if 0 <= length <= depth):
        top = 1 << int(random.integers(1, task.config.width_bits + 1))  # narrow: many ties
        scores = random.integers(0, top, n)
        for k in {0, 1, n // 2, n, int(random.integers(depth + 1))}:
            found.append(Selection(scores, min(k, depth)))
    found += [Selection(np.full(min(depth, 3 * lanes), 1), 2), Selection(np.arange(lanes) % 2, 1)]
    random.shuffle(found)  # type: ignore[arg-type]
    return [s for s in found if len(s.scores) <= depth][:48]


async def check(dut: Any, task: Task, pattern: str, wanted: list[Selection]) -> None:
    """Run selections one after another; compare values, indices and every cycle."""
    config, random = task.config, task.random(pattern + " stalls")
    requests = [task.pack("request", {"k": selection.k}) for selection in wanted]
    rows = [bits for selection in wanted for bits in pack_rows(task, selection)]
    outputs = [row for selection in wanted for row in leaving(task, selection)]
    horizon = 400_000
    offer, ready = stalls(random, pattern, horizon)
    offer_request, _ = stalls(random, pattern, horizon)
    seen = await run(
        dut,
        {"request": Source(requests, offer_request), "i": Source(rows, offer)},
        {"o": Sink(len(outputs), ready)},
        horizon,
    )
    assert [task.unpack("o", bits) for bits in seen["o"].items] == outputs
    moves = engine_moves(config, wanted, offer_request, offer, ready)
    assert seen["request"].cycles == moves.requests
    assert seen["i"].cycles == moves.rows
    assert seen["o"].cycles == moves.outputs
    if pattern == "full" and len(wanted) == 1:
        spent = moves.outputs[-1] - moves.rows[-1]
        assert spent >= int(filter_cycles(config, np.array([len(wanted[0].scores)]))[0])


def pack_rows(task: Task, selection: Selection) -> list[int]:
    """Return a vector's rows as payloads; lanes beyond the count hold noise."""
    lanes = task.config.lanes
    rows = rows_of(task.config, selection)
    noise = task.random("noise").integers(0, 1 << task.config.width_bits, lanes).tolist()
    packed = []
    for row in range(rows):
        part = selection.scores[row * lanes : (row + 1) * lanes].tolist()
        fields = {"data": part + noise[len(part) :], "count": len(part), "last": row == rows - 1}
        packed.append(task.pack("i", fields))
    return packed


def leaving(task: Task, selection: Selection) -> list[dict[str, Any]]:
    """Return the rows that must leave."""
    lanes = task.config.lanes
    rows = output_rows(task.config, selection)
    return [
        {
            "data": selection.scores[row].tolist() + [0] * (lanes - len(row)),
            "index": row.tolist() + [0] * (lanes - len(row)),
            "count": len(row),
            "last": number == len(rows) - 1,
        }
        for number, row in enumerate(rows)
    ]
