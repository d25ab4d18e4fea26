"""Queries of one head through units that pass whole rows on: an exact recurrence."""

from __future__ import annotations

from typing import Any

from numba import njit

BUSY, DRAM, UPSTREAM, BOUNDARY = range(4)
STATES = ("busy", "wait for DRAM", "wait upstream", "layer boundary")


@njit(cache=True)
def run_head(
    free: Any,
    cycles: Any,
    spans: Any,
    gate: int,
    keys_ready: int,
    query_ready: Any,
    values_ready: int,
    work: Any,
    latency: Any,
) -> int:
    """Run all queries of a head; returns the cycle of its last output.

    A unit starts a row when the unit before it has passed it on and when it has finished the row
    before; rows wait between units without a capacity limit.

    Args:
        free: (unit,) cycle at which each unit is free; updated.
        cycles: (unit, state) cycles so far; updated.
        spans: (unit, 2) first start and last end of this head; written.
        gate: cycle at which the layer opened.
        keys_ready: cycle at which K is on chip.
        query_ready: (query,) arrival of each query.
        values_ready: cycle at which V is on chip; the last unit waits for it.
        work: (unit,) cycles that one row occupies each unit.
        latency: (unit,) cycles from a unit's last input of a row to its last output.
    """
    units = len(free)
    end = 0
    for query in range(len(query_ready)):
        ready = max(keys_ready, query_ready[query])
        for unit in range(units):
            operand = values_ready if unit == units - 1 else 0
            if unit == 0:
                operand = ready
            start = max(ready, operand, free[unit])
            gap = start - free[unit]
            if gap > 0:
                before = min(max(gate - free[unit], 0), gap)
                cycles[unit, BOUNDARY] += before
                cycles[unit, DRAM if operand == start else UPSTREAM] += gap - before
            if query == 0:
                spans[unit, 0] = start
            free[unit] = start + work[unit]
            cycles[unit, BUSY] += work[unit]
            spans[unit, 1] = free[unit]
            ready = free[unit] + latency[unit]
        end = ready
    return end
