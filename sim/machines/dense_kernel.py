"""One head on an output-stationary systolic array: a recurrence over tiles of queries.

The array computes Q.K of a tile, later Prob.V of the same tile; softmax works between them.
Q.K of the next tile goes before Prob.V of this one, so array and softmax overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

ARRAY, SOFTMAX = range(2)
UNITS = ("array", "softmax")
BUSY, DRAM, UPSTREAM, BOUNDARY = range(4)
STATES = ("busy", "wait for DRAM", "wait upstream", "layer boundary")


@njit(cache=True)
def _idle(cycles: Any, unit: int, free: int, start: int, gate: int, cause: int) -> None:
    if start > free:
        before = min(max(gate - free, 0), start - free)
        cycles[unit, BOUNDARY] += before
        cycles[unit, cause] += start - free - before


PROB_READY, VALUE_READY, VALUE_CYCLES, WAITING = range(4)
"""Positions in the vector of the tile whose Prob.V has not run yet."""


@njit(cache=True)
def run_head(
    free: Any,
    cycles: Any,
    span: Any,
    pending: Any,
    gate: int,
    key_ready: int,
    query_ready: Any,
    value_ready: int,
    score_cycles: Any,
    softmax_cycles: Any,
    value_cycles: int,
    latency: Any,
) -> Any:
    """Run one head; return the end of its last Q.K, and the end of the head before it.

    Prob.V of the last tile is left pending for the next head, whose first Q.K goes before it.
    The end of the head before includes draining the array; 0: it had ended already.

    Args:
        free: (2,) when array and softmax are free, updated.
        cycles: (2, 4) cycles by unit and state, updated.
        span: (2, 2) first start and last end of each unit, written.
        pending: (4,) the tile left over by the head before, updated.
        gate: cycle at which the layer opened.
        key_ready, value_ready: arrival of all of K, of all of V.
        query_ready: (tiles,) arrival of each tile of queries.
        score_cycles, softmax_cycles: (tiles,) cycles of Q.K and softmax of a tile.
        value_cycles: cycles of Prob.V of a tile.
        latency: cycles to fill and drain the array, and of the softmax pipeline.
    """
    skew, softmax_latency = latency
    end_before = np.int64(0)
    span[:, 0] = np.int64(1) << 62
    for tile in range(len(query_ready)):
        start = max(free[ARRAY], key_ready, query_ready[tile])
        _idle(cycles, ARRAY, free[ARRAY], start, gate, DRAM)
        free[ARRAY] = start + score_cycles[tile]
        cycles[ARRAY, BUSY] += score_cycles[tile]
        span[ARRAY, 0] = min(span[ARRAY, 0], start)
        last_key = free[ARRAY]
        begin = max(last_key + skew, free[SOFTMAX])
        _idle(cycles, SOFTMAX, free[SOFTMAX], begin, gate, UPSTREAM)
        free[SOFTMAX] = begin + softmax_cycles[tile]
        cycles[SOFTMAX, BUSY] += softmax_cycles[tile]
        span[SOFTMAX, 0] = min(span[SOFTMAX, 0], begin)
        if pending[WAITING]:
            done = weight(free, cycles, pending, gate) + skew
            end_before = done if tile == 0 else end_before
        pending[PROB_READY] = free[SOFTMAX] + softmax_latency
        pending[VALUE_READY] = value_ready
        pending[VALUE_CYCLES] = value_cycles
        pending[WAITING] = 1
    span[ARRAY, 1] = free[ARRAY]
    span[SOFTMAX, 1] = free[SOFTMAX]
    return last_key, end_before


@njit(cache=True)
def weight(free: Any, cycles: Any, pending: Any, gate: int) -> Any:
    """Run the pending Prob.V; return its end, the array not drained."""
    start = max(free[ARRAY], pending[PROB_READY])
    _idle(cycles, ARRAY, free[ARRAY], start, gate, UPSTREAM)
    if pending[VALUE_READY] > start:
        _idle(cycles, ARRAY, start, pending[VALUE_READY], gate, DRAM)
        start = pending[VALUE_READY]
    free[ARRAY] = start + pending[VALUE_CYCLES]
    cycles[ARRAY, BUSY] += pending[VALUE_CYCLES]
    pending[WAITING] = 0
    return free[ARRAY]
