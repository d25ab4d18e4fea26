"""One head through SpAtten's pipeline: a recurrence over its queries.

Each stage of each query starts at the latest of: operand ready, unit free, space downstream.
Units: Q.K array, softmax, local-value top-k engine, Prob.V array. A query may be computed twice
(progressive quantisation); recomputations go before new queries, results leave in query order.
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

RING = 1 << 14  # longest history of rows that flow control may look back on
FREE_QK, FREE_SOFTMAX, FREE_TOPK, FREE_PV, ROWS = range(5)
"""Positions in the state vector: when each unit is free, and rows issued so far."""

_NEVER = np.int64(1) << 62


def new_state() -> tuple[Any, Any, Any, Any]:
    """Return (state, accepted, started, cycles): everything idle at cycle 0.

    `accepted[g % RING]` is when row g left the score FIFOs, `started[g % RING]` when it left the
    probability queue; `cycles[unit, state]` accumulates how each unit spends its time.
    """
    return (
        np.zeros(5, np.int64),
        np.zeros(RING, np.int64),
        np.zeros(RING, np.int64),
        np.zeros((len(UNITS), len(STATES)), np.int64),
    )


@njit(cache=True)
def _stream_end(start: int, ready: Any, length: int) -> int:
    """When a stream of `length` cycles ends whose item j cannot pass before ready[j]."""
    end = start + length
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
def run_head(
    state: Any,
    accepted: Any,
    started: Any,
    cycles: Any,
    span: Any,
    gate: int,
    query_ready: Any,
    key_ready: Any,
    lsb_ready: Any,
    value_ready: Any,
    recompute: Any,
    selection: Any,
    timing: Any,
) -> Any:
    """Run one head; return the cycle of its last decision (K may be released then).

    Args:
        state, accepted, started, cycles: from `new_state`, updated.
        span: (4, 2) first start and last end of each unit, written.
        gate: cycle at which the layer opened.
        query_ready: (queries,) arrival of each query.
        key_ready, lsb_ready, value_ready: arrival of each group of rows used in one cycle.
        recompute: (queries,) true where LSBs are needed.
        selection: (queries,) quick-select cycles; empty: no value is pruned.
        timing: cycles, see `SpAttenTiming`; value_cycles 0: Prob.V runs elsewhere.
    """
    (
        key_cycles,
        softmax_cycles,
        value_cycles,
        filter_cycles,
        select_overhead,
        qk_exp_latency,
        sum_latency,
        decide_latency,
        window,
        queue_rows,
    ) = timing
    queries = len(query_ready)
    first_row = state[ROWS]
    decision = np.full(queries, _NEVER, np.int64)
    pending = np.empty(queries, np.int64)
    pending_ready = np.empty(queries, np.int64)
    pend_head = 0
    pend_tail = 0
    issued = 0
    committed = 0
    last_decision = np.int64(0)
    span[:, 0] = _NEVER
    span[:, 1] = 0
    lsb_pending = True
    while committed < queries:
        if decision[committed] < _NEVER:
            _commit(
                state, accepted, started, cycles, span, gate, value_ready, selection,
                committed, first_row, decision[committed], value_cycles, filter_cycles,
                select_overhead, queue_rows,
            )  # fmt: skip
            committed += 1
            continue
        free = state[FREE_QK]
        new_at = _NEVER
        if issued < queries:
            credit = np.int64(0)
            row = first_row + issued - window
            may_issue = issued - window < committed
            if may_issue and row >= 0:
                credit = accepted[row % RING]
            if may_issue:
                new_at = max(credit, query_ready[issued])
                if issued == 0:
                    new_at = max(new_at, key_ready[0])
        again_at = _NEVER
        if pend_head < pend_tail:
            again_at = pending_ready[pend_head]
        now = max(free, min(new_at, again_at))
        if again_at <= now:
            query = pending[pend_head]
            pend_head += 1
            _idle(cycles, QK, free, now, gate, RECOMPUTE)
            end = now + key_cycles
            if lsb_pending:
                end = _stream_end(now, lsb_ready, key_cycles)
                lsb_pending = False
            again = True
        else:
            query = issued
            issued += 1
            operand = query_ready[query]
            if query == 0:
                operand = max(operand, key_ready[0])
            cause = DRAM if operand >= new_at else DOWNSTREAM
            _idle(cycles, QK, free, now, gate, cause)
            end = now + key_cycles
            if query == 0:
                end = _stream_end(now, key_ready, key_cycles)
            again = False
        cycles[QK, BUSY] += key_cycles
        cycles[QK, DRAM] += end - now - key_cycles
        state[FREE_QK] = end
        span[QK, 0] = min(span[QK, 0], now)
        span[QK, 1] = max(span[QK, 1], end)
        divide = max(end + qk_exp_latency + sum_latency, state[FREE_SOFTMAX])
        _idle(cycles, SOFTMAX, state[FREE_SOFTMAX], divide, gate, UPSTREAM)
        cycles[SOFTMAX, BUSY] += softmax_cycles
        state[FREE_SOFTMAX] = divide + softmax_cycles
        span[SOFTMAX, 0] = min(span[SOFTMAX, 0], divide)
        span[SOFTMAX, 1] = max(span[SOFTMAX, 1], divide + softmax_cycles)
        decided = divide + softmax_cycles + decide_latency
        last_decision = max(last_decision, decided)
        if recompute[query] and not again:
            pending[pend_tail] = query
            pending_ready[pend_tail] = max(decided, lsb_ready[0])
            pend_tail += 1
        else:
            decision[query] = decided
    state[ROWS] = first_row + queries
    return last_decision


@njit(cache=True)
def _commit(
    state: Any,
    accepted: Any,
    started: Any,
    cycles: Any,
    span: Any,
    gate: int,
    value_ready: Any,
    selection: Any,
    query: int,
    first_row: int,
    decided: int,
    value_cycles: int,
    filter_cycles: int,
    select_overhead: int,
    queue_rows: int,
) -> None:
    """Pass one decided query on, in query order: top-k, filter, Prob.V."""
    row = first_row + query
    accept = max(decided, state[FREE_TOPK])
    queue = started[(row - queue_rows) % RING] if row >= queue_rows else np.int64(0)
    if len(selection):
        _idle(cycles, TOPK, state[FREE_TOPK], accept, gate, UPSTREAM)
        selected = accept + selection[query]
        out = max(selected, queue)
        state[FREE_TOPK] = out + filter_cycles
        cycles[TOPK, BUSY] += selection[query] + filter_cycles
        cycles[TOPK, DOWNSTREAM] += out - selected
        span[TOPK, 0] = min(span[TOPK, 0], accept)
        span[TOPK, 1] = max(span[TOPK, 1], out + filter_cycles)
        first_out = out + select_overhead
        last_out = out + filter_cycles
    else:
        accept = max(accept, queue)
        first_out = accept
        last_out = accept
    accepted[row % RING] = accept
    if value_cycles == 0:  # values are fetched only now: Prob.V runs elsewhere
        started[row % RING] = first_out
        span[PV, 0] = first_out
        span[PV, 1] = last_out
        return
    free = state[FREE_PV]
    start = max(first_out, free)
    _idle(cycles, PV, free, start, gate, UPSTREAM)
    if query == 0 and value_ready[0] > start:
        _idle(cycles, PV, start, value_ready[0], gate, DRAM)
        start = value_ready[0]
    end = start + value_cycles
    if query == 0:
        end = _stream_end(start, value_ready, value_cycles)
    cycles[PV, DRAM] += end - start - value_cycles
    if last_out + 1 > end:
        cycles[PV, UPSTREAM] += last_out + 1 - end
        end = last_out + 1
    cycles[PV, BUSY] += value_cycles
    started[row % RING] = start
    state[FREE_PV] = end
    span[PV, 0] = min(span[PV, 0], start)
    span[PV, 1] = max(span[PV, 1], end)


@njit(cache=True)
def run_values(
    state: Any,
    cycles: Any,
    gate: int,
    first: int,
    last: int,
    value_ready: Any,
    value_cycles: int,
) -> Any:
    """Run Prob.V of one query whose V rows arrive after the selection; return start and end.

    Args:
        state, cycles: from `new_state`, updated.
        gate: cycle at which the layer opened.
        first, last: cycles at which the first and last probability are known.
        value_ready: arrival of each group of V rows used in one cycle.
        value_cycles: cycles the array is busy.
    """
    free = state[FREE_PV]
    start = max(first, free)
    _idle(cycles, PV, free, start, gate, UPSTREAM)
    if value_ready[0] > start:
        _idle(cycles, PV, start, value_ready[0], gate, DRAM)
        start = value_ready[0]
    end = max(_stream_end(start, value_ready, value_cycles), last + 1)
    cycles[PV, BUSY] += value_cycles
    cycles[PV, DRAM] += end - start - value_cycles
    state[FREE_PV] = end
    return start, end
