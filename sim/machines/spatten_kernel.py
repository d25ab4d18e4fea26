"""Heads through SpAtten's pipeline: a recurrence over queries, exact and resumable.

Each stage of each query starts at the latest of: operand ready, unit free, space downstream.
Units: Q.K array, softmax, local-value top-k engine, Prob.V array. A query may be computed twice
(progressive quantisation): recomputations go before new queries, also those of the next heads,
and results leave in query order. All state is in arrays, so a run can stop where it must wait
for the memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

QK, SOFTMAX, TOPK, PV = range(4)
UNITS = ("Q.K", "softmax", "value top-k", "Prob.V")

BUSY, DRAM, RECOMPUTE, DOWNSTREAM, UPSTREAM, BOUNDARY = range(6)
STATES = (
    "busy",
    "wait for DRAM",
    "wait for LSB decision",
    "blocked downstream",
    "wait upstream",
    "layer boundary",
)

RING = 1 << 13  # rows that may be in flight, and that flow control may look back on

FREE, ISSUED, COMMITTED, PENDING_FIRST, PENDING_END = 0, 4, 5, 6, 7
"""Positions in the counters: when each unit is free (4), rows issued and committed so far, and
the first and the end of the rows that wait for recomputation."""

HEAD, QUERY, SELECTION, DECISION, FIRST_DECISION, ACCEPTED, STARTED = range(7)
"""Columns of a row in flight: its head and query, quick-select cycles (-1: no selection), when
it was decided, when its first pass was, when it left the score FIFOs and the probability queue."""

(
    GATE,
    QUERIES,
    FIRST_ROW,
    KEY_CYCLES,
    SOFTMAX_CYCLES,
    VALUE_CYCLES,
    FILTER_CYCLES,
    WINDOW,
    QUEUE_ROWS,
    KEY_FIRST,
    KEY_END,
    LSB_FIRST,
    LSB_END,
    LSB_REQUEST,
    VALUE_FIRST,
    VALUE_END,
    DECIDED,
    END,
) = range(18)
"""Columns of a head. Given: cycle its layer opened, queries, cycles a query occupies each unit
(VALUE_CYCLES 0: Prob.V runs elsewhere), rows that may be in flight up to the top-k engine and in
the probability queue, arrival of the first operands, and the earliest end of a stream that has
to wait for the others. Written: first row, LSB request, last decision, last output (0: none)."""

UNKNOWN = -1  # LSB_FIRST until the plane was fetched
FINISHED, NEEDS_LSB = range(2)
_NEVER = np.int64(1) << 62


class State:
    """What one run carries from head to head: everything idle at cycle 0."""

    def __init__(self, heads: int) -> None:
        self.counters = np.zeros(8, np.int64)
        self.rows = np.zeros((RING, 7), np.int64)
        self.pending = np.zeros(RING, np.int64)
        self.cycles = np.zeros((len(UNITS), len(STATES)), np.int64)
        self.heads = np.zeros((heads, 18), np.int64)
        self.spans = np.zeros((heads, len(UNITS), 2), np.int64)
        self.spans[:, :, 0] = _NEVER


@njit(cache=True)
def stream_end(ready: Any, length: int) -> int:
    """Return the earliest end of a stream of `length` cycles whose item j is there at ready[j]."""
    end = 0
    for j in range(len(ready)):
        end = max(end, ready[j] + length - j)
    return end


@njit(cache=True)
def _idle(cycles: Any, unit: int, free: int, start: int, gate: int, cause: int) -> None:
    """Book the gap before `start`: up to `gate` the layer was not open, then `cause`."""
    if start > free:
        before = min(max(gate - free, 0), start - free)
        cycles[unit, BOUNDARY] += before
        cycles[unit, cause] += start - free - before


@njit(cache=True)
def _span(spans: Any, head: int, unit: int, start: int, end: int) -> None:
    spans[head, unit, 0] = min(spans[head, unit, 0], start)
    spans[head, unit, 1] = max(spans[head, unit, 1], end)


@njit(cache=True)
def advance(
    counters: Any,
    rows: Any,
    pending: Any,
    cycles: Any,
    heads: Any,
    spans: Any,
    head: int,
    query_ready: Any,
    recompute: Any,
    selection: Any,
    latency: Any,
    flush: bool,
) -> int:
    """Run until all queries of a head are issued, or LSBs must be fetched first.

    Args:
        counters, rows, pending, cycles, heads, spans: of `State`, updated.
        head: its number; its given columns are filled in.
        query_ready: (queries,) arrival of each query.
        recompute: (queries,) true where LSBs are needed.
        selection: (queries,) quick-select cycles; empty: no value is pruned.
        latency: cycles from Q.K to the exponentials, to the row's sum, from the divisions to
            the decision, and of a top-k pass beside its elements.
        flush: also finish every row in flight; no head follows at once.

    Returns:
        FINISHED; or NEEDS_LSB: fetch the head's LSB plane at LSB_REQUEST, fill in LSB_FIRST and
        LSB_END, call again.
    """
    to_exp, to_sum, to_decision, select_overhead = latency
    given = heads[head]
    while True:
        oldest = counters[COMMITTED]
        if oldest < counters[ISSUED] and rows[oldest % RING, DECISION] < _NEVER:
            _commit(counters, rows, cycles, heads, spans, select_overhead)
            continue
        query = counters[ISSUED] - given[FIRST_ROW]
        if query == given[QUERIES] and (not flush or oldest == counters[ISSUED]):
            return FINISHED
        new_at, operand = _NEVER, np.int64(0)
        if query < given[QUERIES]:
            blocking = counters[ISSUED] - given[WINDOW]
            if blocking < oldest:
                operand = query_ready[query]
                if query == 0:
                    operand = max(operand, given[KEY_FIRST])
                new_at = operand
                if blocking >= 0:
                    new_at = max(new_at, rows[blocking % RING, ACCEPTED])
        again_at = _NEVER
        if counters[PENDING_FIRST] < counters[PENDING_END]:
            row = rows[pending[counters[PENDING_FIRST] % RING] % RING]
            again_at = max(row[FIRST_DECISION], heads[row[HEAD], LSB_FIRST])
        free = counters[FREE + QK]
        now = max(free, min(new_at, again_at))
        again = again_at <= now
        if again:
            counters[PENDING_FIRST] += 1
            owner = row[HEAD]
            _idle(cycles, QK, free, now, given[GATE], RECOMPUTE)
            end = max(now + heads[owner, KEY_CYCLES], heads[owner, LSB_END])
        else:
            owner = head
            row = rows[counters[ISSUED] % RING]
            row[HEAD], row[QUERY] = head, query
            row[SELECTION] = selection[query] if len(selection) else -1
            cause = DRAM if operand >= new_at else DOWNSTREAM
            _idle(cycles, QK, free, now, given[GATE], cause)
            end = now + given[KEY_CYCLES]
            if query == 0:
                end = max(end, given[KEY_END])
        work = heads[owner, KEY_CYCLES]
        cycles[QK, BUSY] += work
        cycles[QK, DRAM] += end - now - work
        counters[FREE + QK] = end
        _span(spans, owner, QK, now, end)
        divide = max(end + to_exp + to_sum, counters[FREE + SOFTMAX])
        _idle(cycles, SOFTMAX, counters[FREE + SOFTMAX], divide, given[GATE], UPSTREAM)
        divided = divide + heads[owner, SOFTMAX_CYCLES]
        cycles[SOFTMAX, BUSY] += heads[owner, SOFTMAX_CYCLES]
        counters[FREE + SOFTMAX] = divided
        _span(spans, owner, SOFTMAX, divide, divided)
        decided = divided + to_decision
        heads[owner, DECIDED] = max(heads[owner, DECIDED], decided)
        row[DECISION] = decided
        if again:
            continue
        row_number = counters[ISSUED]
        counters[ISSUED] += 1
        if recompute[query]:
            row[DECISION], row[FIRST_DECISION] = _NEVER, decided
            pending[counters[PENDING_END] % RING] = row_number
            counters[PENDING_END] += 1
            if given[LSB_FIRST] == UNKNOWN:
                given[LSB_REQUEST] = decided
                return NEEDS_LSB


@njit(cache=True)
def _commit(
    counters: Any, rows: Any, cycles: Any, heads: Any, spans: Any, select_overhead: int
) -> None:
    """Pass the oldest row on: top-k, filter, Prob.V."""
    number = counters[COMMITTED]
    counters[COMMITTED] += 1
    row = rows[number % RING]
    owner = row[HEAD]
    head = heads[owner]
    gate = head[GATE]
    accept = max(row[DECISION], counters[FREE + TOPK])
    queue = np.int64(0)
    if number >= head[QUEUE_ROWS]:
        queue = rows[(number - head[QUEUE_ROWS]) % RING, STARTED]
    _idle(cycles, TOPK, counters[FREE + TOPK], accept, gate, UPSTREAM)
    if row[SELECTION] >= 0:
        selected = accept + row[SELECTION]
        out = max(selected, queue)
        last_out = out + head[FILTER_CYCLES]
        counters[FREE + TOPK] = last_out
        cycles[TOPK, BUSY] += row[SELECTION] + head[FILTER_CYCLES]
        cycles[TOPK, DOWNSTREAM] += out - selected
        _span(spans, owner, TOPK, accept, last_out)
        first_out = out + select_overhead
    else:  # passes the engine by, but not a row before it
        if queue > accept:
            cycles[TOPK, DOWNSTREAM] += queue - accept
            accept = queue
        counters[FREE + TOPK] = accept
        first_out = accept
        last_out = accept
    row[ACCEPTED] = accept
    last = row[QUERY] == head[QUERIES] - 1
    if head[VALUE_CYCLES] == 0:  # V is fetched only now: Prob.V runs elsewhere
        row[STARTED] = first_out
        _span(spans, owner, PV, first_out, last_out)
        if last:
            head[END] = last_out
        return
    free = counters[FREE + PV]
    start = max(first_out, free)
    _idle(cycles, PV, free, start, gate, UPSTREAM)
    end = start + head[VALUE_CYCLES]
    if row[QUERY] == 0:
        if head[VALUE_FIRST] > start:
            _idle(cycles, PV, start, head[VALUE_FIRST], gate, DRAM)
            start = head[VALUE_FIRST]
        end = max(start + head[VALUE_CYCLES], head[VALUE_END])
    cycles[PV, BUSY] += head[VALUE_CYCLES]
    cycles[PV, DRAM] += end - start - head[VALUE_CYCLES]
    if last_out + 1 > end:
        cycles[PV, UPSTREAM] += last_out + 1 - end
        end = last_out + 1
    row[STARTED] = start
    counters[FREE + PV] = end
    _span(spans, owner, PV, start, end)
    if last:
        head[END] = end


@njit(cache=True)
def run_values(
    counters: Any,
    cycles: Any,
    gate: int,
    first: int,
    last: int,
    value_ready: Any,
    value_cycles: int,
) -> Any:
    """Run Prob.V of one query whose V rows arrive after the selection; return start and end.

    Args:
        counters, cycles: of `State`, updated.
        gate: cycle at which the layer opened.
        first, last: cycles at which the first and last probability are known.
        value_ready: arrival of each group of V rows used in one cycle.
        value_cycles: cycles the array is busy.
    """
    free = counters[FREE + PV]
    start = max(first, free)
    _idle(cycles, PV, free, start, gate, UPSTREAM)
    if value_ready[0] > start:
        _idle(cycles, PV, start, value_ready[0], gate, DRAM)
        start = value_ready[0]
    end = max(start + value_cycles, stream_end(value_ready, value_cycles), last + 1)
    cycles[PV, BUSY] += value_cycles
    cycles[PV, DRAM] += end - start - value_cycles
    counters[FREE + PV] = end
    return start, end
