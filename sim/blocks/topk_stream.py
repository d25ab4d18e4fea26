"""Timing of the top-k engine behind streams: one selection after another, with stalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sim.blocks.handshake import at, next_move
from sim.blocks.topk import IntArray, TopKConfig, selection_timing, topk_golden
from workloads.trace import Ragged


class Selection(NamedTuple):
    """What one selection is asked for."""

    scores: IntArray
    k: int


class EngineMoves(NamedTuple):
    """Cycles in which requests and rows entered and rows left."""

    requests: list[int]
    rows: list[int]
    outputs: list[int]


def rows_of(config: TopKConfig, selection: Selection) -> int:
    """Rows in which the scores enter: at least one, which may be empty."""
    return max(1, -(-len(selection.scores) // config.lanes))


def output_rows(config: TopKConfig, selection: Selection) -> list[IntArray]:
    """Return the kept indices of each input row; rows that keep nothing leave only as the last."""
    kept = topk_golden(config, selection.scores, selection.k)
    of_row = kept // config.lanes
    rows = [kept[of_row == row] for row in range(rows_of(config, selection))]
    return [row for number, row in enumerate(rows) if len(row) or number == len(rows) - 1]


def engine_moves(
    config: TopKConfig,
    selections: Sequence[Selection],
    offer_request: Sequence[bool],
    offer_row: Sequence[bool],
    ready: Sequence[bool],
) -> EngineMoves:
    """Return when everything moves.

    After a selection's last row come its passes, then the filter, whose row i leaves
    `pass_overhead_cycles` later; while a row waits for the sink the filter stands still. The next
    request is taken after the last row has left. With k >= n there are no passes.

    Args:
        config: the engine.
        selections: in order.
        offer_request, offer_row, ready: of the sources and the sink, by cycle.
    """
    moves = EngineMoves([], [], [])
    free = request = row = 0
    for selection in selections:
        request = next_move(offer_request, request, free)
        moves.requests.append(request)
        request += 1
        load = request
        for _ in range(rows_of(config, selection)):
            load = next_move(offer_row, row, load)
            moves.rows.append(load)
            load = row = load + 1
        start = load + passes_cycles(config, selection) + config.pass_overhead_cycles
        moves.outputs.extend(filter_moves(start, rows_leaving(config, selection), ready))
        free = moves.outputs[-1] + 1
    return moves


def filter_moves(start: int, rows: Sequence[int], ready: Sequence[bool]) -> list[int]:
    """Return when the input rows of these numbers leave, row i in cycle start + i at the earliest.

    While a row waits for the sink the filter stands still.
    """
    cycles = []
    for number in rows:
        while not at(ready, start + number):
            start += 1
        cycles.append(start + number)
    return cycles


def passes_cycles(config: TopKConfig, selection: Selection) -> int:
    """Return the cycles of a selection's passes; 0 when it keeps everything."""
    n = len(selection.scores)
    scores = Ragged(np.asarray(selection.scores, np.int64), np.array([0, n]), np.array([True]))
    one = np.array([1])
    timing = selection_timing(config, one, np.array([n]), np.array([selection.k]), scores, 0)
    return int(timing.cycles.sum())


def rows_leaving(config: TopKConfig, selection: Selection) -> list[int]:
    """Return the numbers of the input rows that leave."""
    kept = topk_golden(config, selection.scores, selection.k)
    last = rows_of(config, selection) - 1
    return sorted({*(kept // config.lanes).tolist(), last})
