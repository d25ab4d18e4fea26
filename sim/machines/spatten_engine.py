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
from sim.operations import Operations, of_each_head, recompute_flags
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
        self._late = late.tolist()
        self._has_lsbs = (operations.k_lsb_bits > 0).tolist()
        # copies: numba would compile its kernel once more for read-only arrays
        self._recompute = [flags.copy() for flags in recompute_flags(trace, operations)]
        self._values_match = (operations.values == operations.values_fetched).tolist()
        dims = operations.head_dim
        self._per_score = of_each_head(dims, machine.query_key.scores_per_cycle).tolist()
        self._per_row = of_each_head(dims, machine.prob_value.rows_per_cycle).tolist()
        self._state = kernel.State(len(operations))
        self._value_cycles = _fill_heads(self._state.heads, machine, operations)
        self._state.heads[late, kernel.VALUE_CYCLES] = 0
        self._latency = (
            machine.query_key.latency_cycles + machine.softmax.exp_latency_cycles,
            machine.softmax.sum_latency_cycles,
            machine.softmax.divide_latency_cycles + machine.requant.latency_cycles,
            machine.value_topk.pass_overhead_cycles,
        )
        self._selection = _selection_cycles(operations, local)
        self._hold_keys = machine.flow.hold_keys
        self._started = 0
        self._reported = 0
        self._query_ready = _NOTHING

    @property
    def next_start(self) -> int:
        return int(self._state.counters[kernel.FREE + kernel.QK])

    @property
    def waiting(self) -> bool:
        return self._reported < self._started

    def start(self, operation: int, gate: int, arrivals: Arrivals, flush: bool) -> int | None:
        """Issue a head's queries, up to the first that needs LSBs."""
        head = self._state.heads[operation]
        head[kernel.GATE] = gate
        head[kernel.FIRST_ROW] = self._state.counters[kernel.ISSUED]
        keys = self._chunks(arrivals.keys, self._plan.keys.last_of(operation), operation)
        head[kernel.KEY_FIRST] = keys[0]
        head[kernel.KEY_END] = kernel.stream_end(keys, int(head[kernel.KEY_CYCLES]))
        head[kernel.LSB_FIRST] = kernel.UNKNOWN
        if arrivals.values is not None:
            values = self._value_chunks(operation, arrivals.values)
            head[kernel.VALUE_FIRST] = values[0]
            head[kernel.VALUE_END] = kernel.stream_end(values, int(head[kernel.VALUE_CYCLES]))
        last = self._plan.queries.last_of(operation)
        self._query_ready = chunk_ready(arrivals.queries, last, 1) + self._response
        self._started += 1
        return self._advance(operation, flush)

    def resume(self, operation: int, lsbs: IntArray, flush: bool) -> int | None:
        """Go on with the head once its LSB plane has been asked for."""
        head = self._state.heads[operation]
        chunks = self._chunks(lsbs, self._plan.lsbs.last_of(operation), operation)
        head[kernel.LSB_FIRST] = chunks[0]
        head[kernel.LSB_END] = kernel.stream_end(chunks, int(head[kernel.KEY_CYCLES]))
        return self._advance(operation, flush)

    def flush(self) -> None:
        """Finish every query in flight."""
        self._advance(self._started - 1, True)

    def finished(self) -> list[HeadTimes]:
        """Return the heads that have ended since the last call."""
        ended = []
        heads = self._state.heads
        while self.waiting and heads[self._reported, kernel.END]:
            head = heads[self._reported].tolist()
            spans = self._state.spans[self._reported].tolist()
            late = self._late[self._reported]
            hold = self._hold_keys or self._has_lsbs[self._reported]
            ended.append(
                HeadTimes(
                    operation=self._reported,
                    keys_free=head[kernel.DECIDED] if hold else spans[kernel.QK][1],
                    probabilities=spans[kernel.PV][0],
                    decided=head[kernel.DECIDED],
                    end=head[kernel.END] + (0 if late else self._output_latency),
                )
            )
            self._reported += 1
        return ended

    def run_values(self, times: HeadTimes, gate: int, values: IntArray) -> int:
        """Run Prob.V of a head whose V rows were fetched after the selection."""
        start, end = kernel.run_values(
            self._state.counters,
            self._state.cycles,
            gate,
            times.probabilities,
            times.end,
            self._value_chunks(times.operation, values),
            self._value_cycles[times.operation],
        )
        self._state.spans[times.operation, kernel.PV] = start, end
        return int(end) + self._output_latency

    def unit_cycles(self, total: int) -> dict[str, dict[str, int]]:
        """Return how each unit spent all cycles of the run."""
        table = {}
        for unit, name in enumerate(kernel.UNITS):
            states = dict(zip(kernel.STATES, self._state.cycles[unit].tolist(), strict=True))
            states["layer boundary"] += total - int(self._state.counters[kernel.FREE + unit])
            table[name] = states if states["busy"] else {"busy": 0, "idle": total}
        return table

    def spans(self, heads: int) -> list[tuple[int, str, int, int]]:
        """Return (head, unit, first start, last end) of the first heads."""
        return [
            (head, kernel.UNITS[unit], start, end)
            for head, units in enumerate(self._state.spans[:heads].tolist())
            for unit, (start, end) in enumerate(units)
            if end
        ]

    def _advance(self, operation: int, flush: bool) -> int | None:
        state = self._state
        code = kernel.advance(
            state.counters,
            state.rows,
            state.pending,
            state.cycles,
            state.heads,
            state.spans,
            operation,
            self._query_ready,
            self._recompute[operation],
            self._selection.get(operation, _NO_SELECTION),
            self._latency,
            flush,
        )
        if code == kernel.NEEDS_LSB:
            return int(self._state.heads[operation, kernel.LSB_REQUEST])
        return None

    def _value_chunks(self, operation: int, values: IntArray) -> IntArray:
        """Arrival of V: by groups of rows where one query uses them all, else of the whole."""
        if self._values_match[operation]:
            last = self._plan.values.last_of(operation)
            return chunk_ready(values, last, self._per_row[operation]) + self._response
        return np.array([values.max() + self._response])

    def _chunks(self, completion: IntArray, last: IntArray, operation: int) -> IntArray:
        return chunk_ready(completion, last, self._per_score[operation]) + self._response


def _fill_heads(heads: IntArray, machine: SpAtten, operations: Operations) -> list[int]:
    """Fill in what is known of each head before the run; return its Prob.V cycles of a query."""
    m, ops = machine, operations
    runs = np.maximum(ops.queries + ops.recomputed, 1)
    busy = m.busy_cycles(ops)
    value_cycles = busy["Prob.V"] // np.maximum(ops.queries, 1)
    fifo_elements = m.softmax.fifo_elements + m.requant.fifo_rows * m.softmax.lanes
    heads[:, kernel.QUERIES] = ops.queries
    heads[:, kernel.KEY_CYCLES] = busy["Q.K"] // runs
    heads[:, kernel.SOFTMAX_CYCLES] = busy["softmax"] // runs
    heads[:, kernel.VALUE_CYCLES] = value_cycles
    heads[:, kernel.FILTER_CYCLES] = filter_cycles(m.value_topk, ops.keys)
    heads[:, kernel.WINDOW] = np.clip(fifo_elements // ops.keys, 1, kernel.RING // 2)
    queue = m.prob_value.queue_elements // np.maximum(ops.values, 1)
    heads[:, kernel.QUEUE_ROWS] = np.clip(queue, 1, kernel.RING // 2)
    cycles: list[int] = value_cycles.tolist()
    return cycles


def _selection_cycles(operations: Operations, local: Selections) -> dict[int, IntArray]:
    """Return (queries,) quick-select cycles of each head that drops values.

    Queries that share another's selection take none of their own, but pass the filter.
    """
    drops = np.flatnonzero(operations.values < operations.keys).tolist()
    cycles = {op: np.zeros(operations.queries[op], np.int64) for op in drops}
    starts = local.timing.starts.tolist()
    for i, op in enumerate(local.owner.tolist()):
        own = local.timing.cycles[starts[i] : starts[i + 1]]
        cycles[op][: len(own)] = own
    return cycles
