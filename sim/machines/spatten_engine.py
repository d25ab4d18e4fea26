"""SpAtten's compute engines during one run: the kernel's state, carried from head to head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.blocks.fetch import chunk_ready
from sim.blocks.topk import filter_cycles
from sim.machines import spatten_kernel as kernel
from sim.machines.pipeline import Arrivals, HeadTimes
from sim.machines.plan import FetchPlan
from sim.machines.selections import Selections
from sim.operations import Operations
from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.machines.spatten import SpAtten

IntArray = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

_NOTHING = np.zeros(1, np.int64)
_NO_SELECTION = np.zeros(0, np.int64)


class SpAttenEngine:
    """Q.K, softmax, local-value top-k and Prob.V of one run, a `pipeline.HeadEngine`."""

    def __init__(
        self,
        machine: SpAtten,
        trace: Trace,
        operations: Operations,
        plan: FetchPlan,
        local: Selections,
        late: BoolArray,
    ) -> None:
        self._plan = plan
        self._response = machine.fetch.response_latency_cycles
        self._output_latency = machine.prob_value.latency_cycles
        self._state, self._accepted, self._started, self._cycles = kernel.new_state()
        self._span = np.zeros((len(kernel.UNITS), 2), np.int64)
        self._recompute = _recompute_flags(trace, operations)
        self._values_match = (operations.values == operations.values_fetched).tolist()
        self._keys_kept = (operations.k_lsb_bits > 0).tolist()
        dims = operations.head_dim.tolist()
        self._per_score = [machine.query_key.scores_per_cycle(dim) for dim in dims]
        self._per_row = [machine.prob_value.rows_per_cycle(dim) for dim in dims]
        self._timing, self._value_cycles = _timings(machine, operations, late)
        starts = local.timing.starts
        self._selection = {
            int(op): local.timing.cycles[starts[i] : starts[i + 1]]
            for i, op in enumerate(local.owner)
        }
        self.spans: list[tuple[int, str, int, int]] = []
        """(operation, unit, first start, last end) of every head and unit that worked"""

    def lsb_request(self, operation: int, gate: int, arrivals: Arrivals) -> int:
        """Run the head on copies of the state up to the first query that needs LSBs."""
        flags = self._recompute[operation]
        queries = int(np.argmax(flags)) + 1
        copies = (
            self._state.copy(),
            self._accepted.copy(),
            self._started.copy(),
            self._cycles.copy(),
        )
        last = self._run(copies, operation, gate, arrivals, _NOTHING, np.zeros(queries, np.bool_))
        return last

    def run(
        self, operation: int, gate: int, arrivals: Arrivals, lsbs: IntArray | None
    ) -> HeadTimes:
        """Run one head to its last probability, or its last output where V is there."""
        lsb_ready = _NOTHING
        if lsbs is not None:
            lsb_ready = self._chunks(lsbs, self._plan.lsbs.last_of(operation), operation)
        state = (self._state, self._accepted, self._started, self._cycles)
        flags = self._recompute[operation]
        decided = self._run(state, operation, gate, arrivals, lsb_ready, flags)
        spans = self._span.tolist()
        for unit, (start, end) in enumerate(spans):
            if end:
                self.spans.append((operation, kernel.UNITS[unit], start, end))
        next_start = int(self._state[kernel.FREE_QK])
        start, end = spans[kernel.PV]
        return HeadTimes(
            next_start=next_start,
            keys_free=decided if self._keys_kept[operation] else next_start,
            probabilities=start,
            ended=((operation, end + self._output_latency),),
        )

    def run_values(self, operation: int, gate: int, times: HeadTimes, values: IntArray) -> int:
        """Run Prob.V of a head whose V rows were fetched after the selection."""
        ready = values + self._response
        last = self._plan.values.last_of(operation)
        chunks = chunk_ready(ready, last, self._per_row[operation])
        start, end = kernel.run_values(
            self._state,
            self._cycles,
            gate,
            times.probabilities,
            times.ended[0][1] - self._output_latency,
            chunks,
            self._value_cycles[operation],
        )
        self.spans.append((operation, kernel.UNITS[kernel.PV], start, end))
        return int(end) + self._output_latency

    def unit_cycles(self, total: int) -> dict[str, dict[str, int]]:
        """Return how each unit spent all cycles of the run."""
        free = self._state[: len(kernel.UNITS)]
        table = {}
        for unit, name in enumerate(kernel.UNITS):
            states = dict(zip(kernel.STATES, self._cycles[unit].tolist(), strict=True))
            states["layer boundary"] += total - int(free[unit])
            table[name] = states
        return table

    def _run(
        self,
        state: tuple[Any, Any, Any, Any],
        operation: int,
        gate: int,
        arrivals: Arrivals,
        lsb_ready: IntArray,
        flags: BoolArray,
    ) -> int:
        key_last = self._plan.keys.last_of(operation)
        query_last = self._plan.queries.last_of(operation)[: len(flags)]
        values = arrivals.values
        if values is None:
            value_ready = _NOTHING
        elif self._values_match[operation]:
            last = self._plan.values.last_of(operation)
            value_ready = chunk_ready(values, last, self._per_row[operation]) + self._response
        else:
            value_ready = np.array([values.max() + self._response])
        return int(
            kernel.run_head(
                *state,
                self._span,
                gate,
                chunk_ready(arrivals.queries, query_last, 1) + self._response,
                self._chunks(arrivals.keys, key_last, operation),
                lsb_ready,
                value_ready,
                flags,
                self._selection.get(operation, _NO_SELECTION),
                self._timing[operation],
            )
        )

    def _chunks(self, completion: IntArray, last: IntArray, operation: int) -> IntArray:
        return chunk_ready(completion, last, self._per_score[operation]) + self._response


def _timings(
    machine: SpAtten, operations: Operations, late: BoolArray
) -> tuple[list[tuple[int, ...]], list[int]]:
    """Return the kernel's `timing` of each head, and Prob.V cycles of one query."""
    m, ops = machine, operations
    dims = ops.head_dim.tolist()
    keys, values = ops.keys.tolist(), ops.values.tolist()
    fifo = m.softmax.fifo_elements + m.requant.fifo_rows * m.softmax.lanes
    latency = m.query_key.latency_cycles + m.softmax.exp_latency_cycles
    decide = m.softmax.divide_latency_cycles + m.requant.latency_cycles
    value_cycles = [m.prob_value.cycles(v, d) for v, d in zip(values, dims, strict=True)]
    timings: list[tuple[int, ...]] = []
    for op, (n, k, dim) in enumerate(zip(keys, values, dims, strict=True)):
        timings.append(
            (
                m.query_key.cycles(n, dim),
                m.softmax.cycles(n),
                0 if late[op] else value_cycles[op],
                filter_cycles(m.value_topk, n),
                m.value_topk.pass_overhead_cycles,
                latency,
                m.softmax.sum_latency_cycles,
                decide,
                max(1, fifo // n),
                max(1, m.prob_value.queue_elements // max(k, 1)),
            )
        )
    return timings, value_cycles


def _recompute_flags(trace: Trace, operations: Operations) -> list[BoolArray]:
    """Return (queries,) flags of each head; evenly spread where a trace gives only a count."""
    ops = operations
    ids = trace.ragged("attention", "recomputed_queries")
    flags = []
    for row, queries, count in zip(
        ops.rows.tolist(), ops.queries.tolist(), ops.recomputed.tolist(), strict=True
    ):
        needs = np.zeros(queries, np.bool_)
        if count and ids.given[row]:
            needs[ids.row(row)] = True
        elif count:
            needs[np.arange(count) * queries // count] = True
        flags.append(needs)
    return flags
