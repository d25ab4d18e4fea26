"""Bench of the head pipeline: whole heads, with every kind of pruning, against golden functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb
import numpy as np

from rtl.bench.drive import PATTERNS, Sink, Source, run, stalls
from rtl.bench.task import Task, read_task, unpack
from rtl.bench.watch import note
from sim.blocks.dotprod import prob_value_golden, query_key_golden
from sim.blocks.head_pipeline_stream import HeadWork, QueryWork, Stalls, pipeline_moves
from sim.blocks.requant import requant_golden
from sim.blocks.softmax import exponent_multiplier, softmax_golden
from sim.blocks.topk import topk_golden
from sim.blocks.topk_stream import Selection, passes_cycles, rows_leaving

HEADS = 16
HORIZON = 200_000


@dataclass(frozen=True)
class Head:
    """One head and what it must give."""

    query: np.ndarray  # (queries, channels) signed
    key: np.ndarray  # (keys, channels)
    value: np.ndarray
    values: int
    lsb: bool
    late: bool  # V comes after the selection
    threshold: int
    multiplier: int
    work: HeadWork
    output: np.ndarray  # (queries, channels) exact sums
    probabilities: np.ndarray  # (queries, keys), before any selection
    lines: list[list[tuple[int, int]]]
    """(number, mask) of the lines of V that a late head needs, by the row in which they are told"""


@cocotb.test()
@cocotb.parametrize(pattern=PATTERNS)
async def values_and_cycles(dut: Any, pattern: str) -> None:
    """Heads of all lengths: plain, with low bits on demand, with value pruning before or after V
    is there, with both.
    """
    task = read_task()
    random = task.random(pattern)
    await check(dut, task, pattern, [random_head(task, random) for _ in range(HEADS)])


@cocotb.test()
async def arrays_are_busy_on_a_dense_head(dut: Any) -> None:
    """One head of 128 keys, or as many as fit, and as many queries, with ideal memory.

    A line enters each array in nine cycles of ten from its first to its last one, where enough
    queries may be under way to fill the pipeline.
    """
    task = read_task()
    random = task.random("dense")
    keys = min(128, task.config.tokens)
    head = make_head(task, random, keys, keys, keys)
    moves = await check(dut, task, "full", [head])
    lines = -(-keys // task.config.rows)
    latency = moves.o[0] - moves.issues[0]
    if task.config.results * lines > latency:
        read = moves.issues[-1] + lines - moves.issues[0]
        weighed = moves.weighed[-1] + 1 - moves.weighed[0]
        assert lines * keys >= 0.9 * read
        assert lines * keys >= 0.9 * weighed


def random_head(task: Task, random: np.random.Generator) -> Head:
    """Return a head of any kind."""
    tokens = task.config.tokens
    keys = int(random.integers(1, tokens + 1))
    lsb = bool(random.random() < 0.4)
    if random.random() < 0.5:
        return make_head(task, random, keys, 1, int(random.integers(0, keys)), lsb, True)
    queries = int(random.integers(1, min(tokens, 6) + 1))
    kept = int(random.integers(0, keys + 1)) if random.random() < 0.5 else keys
    return make_head(task, random, keys, queries, kept, lsb)


def make_head(
    task: Task,
    random: np.random.Generator,
    keys: int,
    queries: int,
    values: int,
    lsb: bool = False,
    late: bool = False,
) -> Head:
    """Return a head with random operands and a threshold that some of its rows miss."""
    config = task.config
    top = 1 << (config.width_bits - 1)
    query, key, value = (
        random.integers(-top, top, (n, config.channels)) for n in (queries, keys, keys)
    )
    scale = float(10 ** random.uniform(-1, 1)) / np.abs(query_key_golden(query, key)).max(initial=1)
    multiplier = min(exponent_multiplier(scale), (1 << 31) - 1)
    coarse = (key >> config.lsb_bits) << config.lsb_bits if lsb else key
    probabilities = softmax_golden(config.softmax, query_key_golden(query, coarse), multiplier)
    threshold = int(np.median(probabilities.max(axis=1))) if random.random() < 0.8 else 0
    if queries == 1 and random.random() < 0.5:  # it misses its own one
        threshold = min(threshold + 1, (1 << config.width_bits) - 1)
    operands = (query, key, value)
    return golden_head(config, operands, values, lsb, threshold, multiplier, late)


def golden_head(
    config: Any,
    operands: tuple[np.ndarray, np.ndarray, np.ndarray],
    values: int,
    lsb: bool,
    threshold: int,
    multiplier: int,
    late: bool = False,
) -> Head:
    """Return a head with what it must give, by the blocks' golden functions.

    Args:
        config: the pipeline.
        operands: Q, K and V, (rows, channels) signed.
        values: rows of V that each query keeps.
        lsb: whether K comes in planes.
        threshold, multiplier: of recomputation and softmax.
        late: whether V comes after the selection.
    """
    query, key, value = operands
    keys = len(key)
    coarse = (key >> config.lsb_bits) << config.lsb_bits if lsb else key
    probabilities = softmax_golden(config.softmax, query_key_golden(query, coarse), multiplier)
    recompute = requant_golden(probabilities, threshold) & lsb
    if recompute.any():
        again = query_key_golden(query[recompute], key)
        probabilities[recompute] = softmax_golden(config.softmax, again, multiplier)
    output, work = [], []
    for row, repeated in zip(probabilities, recompute.tolist(), strict=True):
        kept = np.zeros(keys, np.bool_)
        kept[topk_golden(config.topk, row, values)] = True
        output.append(prob_value_golden(np.where(kept, row, 0)[None], value)[0])
        work.append(_work(config, row, values, repeated))
    return Head(
        query, key, value, values, lsb, late, threshold, multiplier,
        HeadWork(keys, work, lsb, late), np.array(output), probabilities,
        [*_kept_lines(config, probabilities[0], values).values()] if late else [],
    )  # fmt: skip


def _work(config: Any, row: np.ndarray, values: int, repeated: bool) -> QueryWork:
    if values >= len(row):
        return QueryWork(repeated)
    lines = [(number, len(of_row)) for number, of_row in _kept_lines(config, row, values).items()]
    return QueryWork(repeated, passes_cycles(config.topk, Selection(row, values)), lines)


def _kept_lines(config: Any, row: np.ndarray, values: int) -> dict[int, list[tuple[int, int]]]:
    """Return the lines, (number, mask), of each of the top-k engine's rows that leave it."""
    kept = topk_golden(config.topk, row, values)
    found = {}
    for number in rows_leaving(config.topk, Selection(row, values)):
        masks: dict[int, int] = {}
        for index in kept[kept // config.topk_lanes == number].tolist():
            line, lane = divmod(index, config.rows)
            masks[line] = masks.get(line, 0) | 1 << lane
        found[number] = list(masks.items()) or [(0, 0)]
    return found


async def check(dut: Any, task: Task, pattern: str, heads: list[Head]) -> Any:
    """Run heads one after another; compare outputs and every cycle; return the model's moves."""
    random = task.random(pattern + " stalls")
    given = {}
    for name in ("head", "query_fill", "key_fill", "value_fill"):
        given[name], _ = stalls(random, pattern, HORIZON)
    for name in ("lsb", "late", "o"):
        _, given[name] = stalls(random, pattern, HORIZON)
    sources, asked = _sources(task, heads, given)
    outputs = sum(len(head.output) for head in heads)
    late = [row for head in heads for row in asked_late(task, head)]
    numbers = {"o": outputs, "lsb": asked, "late": len(late)}
    sinks = {name: Sink(number, given[name]) for name, number in numbers.items()}
    shown: list[int] = []
    cocotb.start_soon(note(dut, "probabilities", shown))
    seen = await run(dut, sources, sinks, HORIZON)
    assert _rows_of(task, shown) == [row for head in heads for row in _shown(task, head)]
    assert [task.unpack("late", bits) for bits in seen["late"].items] == late
    left = iter(seen["o"].items)
    for head in heads:
        for number, row in enumerate(head.output):
            last = number == len(head.output) - 1
            assert task.unpack("o", next(left)) == {"data": row.tolist(), "last": last}
    moves = pipeline_moves(task.config, [head.work for head in heads], Stalls(**given))
    for name in (*sources, *sinks):
        assert seen[name].cycles == getattr(moves, name), name
    return moves


def _rows_of(task: Task, seen: list[int]) -> list[dict[str, Any]]:
    """Return the rows of probabilities among what the port held."""
    layout = task.component.signature.members["probabilities"].shape
    rows = [unpack(layout, bits)["row"] for bits in seen if bits & 1]
    return [row | {"data": row["data"][: row["count"]]} for row in rows]


def _shown(task: Task, head: Head) -> list[dict[str, Any]]:
    """Return the rows of probabilities of a head, all of them, before any selection."""
    rows, keys = task.config.rows, head.probabilities.shape[1]
    return [
        {
            "data": query[first : first + rows].tolist(),
            "count": min(rows, keys - first),
            "last": first + rows >= keys,
        }
        for query in head.probabilities
        for first in range(0, keys, rows)
    ]


def asked_late(task: Task, head: Head) -> list[dict[str, int]]:
    """Return what a late head asks for: rows of V, and which of them are kept."""
    rows = task.config.rows
    parts, end = task.config.topk_lanes // rows, len(head.lines) - 1
    return [
        {
            "row": lines[0][0] // parts,
            "mask": sum(mask << (line % parts * rows) for line, mask in lines),
            "last": number == end,
        }
        for number, lines in enumerate(head.lines)
    ]


def head_fields(head: Head) -> dict[str, Any]:
    """Return what the pipeline is told of a head."""
    return {
        "queries": len(head.query),
        "keys": len(head.key),
        "values": head.values,
        "lsb": head.lsb,
        "late": head.late,
        "threshold": head.threshold,
        "multiplier": head.multiplier,
    }


def _sources(
    task: Task, heads: list[Head], given: dict[str, list[bool]]
) -> tuple[dict[str, Source], int]:
    """Return what is fed, and how often low bits are asked for."""
    items: dict[str, list[int]] = {"head": [], "query_fill": [], "key_fill": [], "value_fill": []}
    after: dict[str, dict[int, tuple[str, int]]] = {name: {} for name in items}
    asked = told = left = 0
    for number, head in enumerate(heads):
        items["head"].append(task.pack("head", head_fields(head)))
        keys, values = items["key_fill"], items["value_fill"]
        if number and heads[number - 1].lsb:
            after["key_fill"][len(keys)] = ("o", left)
        items["query_fill"] += _fills(task, "query", head.query)
        keys += _fills(task, "key", head.key)
        if any(query.recompute for query in head.work.queries):
            asked += 1
            after["key_fill"][len(keys)] = ("lsb", asked)
            keys += _fills(task, "key", head.key, half=number % 2)
        place = len(values)
        for row in head.lines:
            told += 1
            after["value_fill"] |= {place + line: ("late", told) for line in range(len(row))}
            place += len(row)
        late_lines = [line for row in head.lines for line in row]
        values += _fills(task, "value", head.value, late_lines)
        left += len(head.output)
    sources = {name: Source(found, given[name], after[name]) for name, found in items.items()}
    return sources, asked


def _fills(
    task: Task,
    name: str,
    matrix: np.ndarray,
    lines: list[tuple[int, int]] | None = None,
    half: int | None = None,
) -> list[int]:
    """Return a matrix line by line, all or some, noise in other rows; with a half its low bits."""
    rows, config = task.config.rows, task.config
    noise = task.random("noise").integers(-1, 1, (rows, config.channels))
    parts = [matrix[first : first + rows] for first in range(0, len(matrix), rows)]
    lines = lines or [(line, (1 << len(part)) - 1) for line, part in enumerate(parts)]
    found = []
    for place, (line, mask) in enumerate(lines):
        data = np.concatenate([parts[line], noise[len(parts[line]) :]])
        kept = (mask >> np.arange(rows)) & 1
        fields = {
            "data": np.where(kept[:, None], data, noise),
            "mask": mask,
            "line": line,
            "lsb": half is not None,
            "half": half or 0,
            "last": place == len(lines) - 1,
        }
        found.append(task.pack(f"{name}_fill", fields))
    return found
