"""Operators through a decoder machine: a max-plus recurrence over tiles, exact integers.

A tile is fetched when its memory is free and its buffer has a slot; the engine takes tiles in
order. Memory time is in ticks, `ticks` of them a cycle, so that a rate such as 14 beats in 15
cycles stays exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

IntArray = np.ndarray[Any, np.dtype[np.int64]]

(
    MEMORY,  # which memory gives the tiles: WEIGHTS or KV; both are WEIGHTS where they are shared
    KIND,  # which buffer holds them and whose rate they have: WEIGHTS or KV
    LINES,  # beats from every channel
    TILES,  # pieces of them, each one slot of the buffer
    WORK,  # cycles of the engine
    DEPENDS,  # operator whose results it needs; -1: none
    WAIT,  # cycles from those results to its first operand: the nonlinear unit
    LATENCY,  # cycles from the engine's last operand to the results
    GATED,  # 1: nothing is fetched before the results that it depends on
    WRITES,  # lines written to its memory first: new K and V
    SPILL,  # cycles of the second memory beside it
) = range(11)
"""Rows of `operators`."""

FIELDS = 11
WEIGHTS, KV = 0, 1

BUSY, FOR_RESULTS, FOR_WEIGHTS, FOR_KV, FOR_SPILL = range(5)
"""States of the engine."""

STREAMING, BUFFER_FULL = range(2)
"""States of a memory; the rest of the cycles there is nothing to fetch."""


@njit(cache=True)
def run(
    operators: IntArray,
    slots: int,
    ticks: int,
    ticks_per_line: IntArray,
    latency: IntArray,
    whole_tiles: bool,
    start: IntArray,
    end: IntArray,
    results: IntArray,
    engine: IntArray,
    memory: IntArray,
) -> None:
    """Run all operators in order.

    Args:
        operators: (11, operators), see the rows above.
        slots: tiles that a buffer holds.
        ticks: ticks of a cycle.
        ticks_per_line: (2,) of a line of weights and of KV.
        latency: (2,) cycles from a request to its first beat.
        whole_tiles: the engine waits for a tile's last beat.
        start, end, results: (operators,) result, cycles: of the engine, and of what it computed.
        engine: (5,) result, cycles by state.
        memory: (2, 2) result, ticks by memory and state.
    """
    freed = np.zeros((2, slots), np.int64)
    count = np.zeros(2, np.int64)
    memory_free = np.zeros(2, np.int64)
    engine_free = 0
    spill_free = 0
    for i in range(operators.shape[1]):
        m, kind = operators[MEMORY, i], operators[KIND, i]
        lines, tiles, work = operators[LINES, i], operators[TILES, i], operators[WORK, i]
        depends = operators[DEPENDS, i]
        known = results[depends] if depends >= 0 else 0
        ready = known + operators[WAIT, i]
        per_line = ticks_per_line[kind]
        gate = known * ticks if operators[GATED, i] else 0
        written = operators[WRITES, i] * ticks_per_line[KV]
        memory_free[m] += written
        memory[m, STREAMING] += written
        begun = -1
        for t in range(tiles):
            part = lines * (t + 1) // tiles - lines * t // tiles
            here = work * (t + 1) // tiles - work * t // tiles
            slot = count[kind] % slots
            room = freed[kind, slot] * ticks
            request = max(memory_free[m], room, gate)
            memory[m, BUFFER_FULL] += max(room - max(memory_free[m], gate), 0)
            memory_free[m] = request + part * per_line
            memory[m, STREAMING] += part * per_line
            first = last = 0
            if part > 0:
                first = -(-(request + per_line) // ticks) + latency[kind]
                last = -(-memory_free[m] // ticks) + latency[kind]
            begin = max(engine_free, ready, last if whole_tiles else first)
            waits = max(min(begin, ready) - engine_free, 0)
            finish = max(begin + here, last + 1 if part > 0 else 0)
            engine[FOR_RESULTS] += waits
            engine[BUSY] += here
            engine[FOR_WEIGHTS + kind] += finish - engine_free - waits - here
            engine_free = finish
            freed[kind, slot] = finish
            count[kind] += 1
            if begun < 0:
                begun = begin
        if operators[SPILL, i] > 0:
            spill_free = max(spill_free, begun) + operators[SPILL, i]
            engine[FOR_SPILL] += max(spill_free - engine_free, 0)
            engine_free = max(engine_free, spill_free)
        start[i] = begun
        end[i] = engine_free
        results[i] = engine_free + operators[LATENCY, i]
    if operators.shape[1]:
        engine[FOR_RESULTS] += results[-1] - engine_free
