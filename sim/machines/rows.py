"""Machines whose units pass whole rows of scores on, one query behind another."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from sim.blocks.dotprod import padded_head_dim
from sim.dram.model import Dram
from sim.energy.hardware import Hardware
from sim.machines import eighth
from sim.machines import rows_kernel as kernel
from sim.machines.base import Machine, Record
from sim.machines.pipeline import Arrivals, Buffers, HeadTimes, Pipeline
from sim.machines.plan import FetchPlan, make_plan, plane_traffic
from sim.machines.timeline import timeline_columns
from sim.operations import Operations, of_each_head
from workloads.trace import Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]


class RowMachine(Machine):
    """Base of `a3` and `mnnfast`: everything is fetched, what is computed differs."""

    @property
    def exploits(self) -> frozenset[str]:
        return frozenset()

    @property
    def hardware(self) -> Hardware:
        return self.make_hardware(eighth.MULTIPLIERS, eighth.MULTIPLIERS)

    @property
    def ideal(self) -> tuple[str, ...]:
        return (*super().ideal, "IdealRowBuffer")

    @abstractmethod
    def row_cycles(self, operations: Operations) -> dict[str, IntArray]:
        """Return for each unit, in order, the (heads,) cycles of one query."""

    @abstractmethod
    def unit_latencies(self) -> tuple[int, ...]:
        """Return for each unit the cycles from a row's last input to its last output."""

    def head_cycles(self, operations: Operations) -> IntArray:
        """Return (heads,) cycles between K's arrival and the first query's start."""
        return np.zeros(len(operations), np.int64)

    @abstractmethod
    def computed(self, operations: Operations) -> tuple[IntArray, IntArray]:
        """Return (heads,) keys and values that one query multiplies."""

    @abstractmethod
    def extra_counts(self, operations: Operations) -> dict[str, IntArray]:
        """Return events beside those of fetching, multiplying and softmax."""

    def multiplications(self, operations: Operations) -> IntArray:
        keys, values = self.computed(operations)
        return operations.queries * (keys + values) * operations.head_dim

    def busy_cycles(self, operations: Operations) -> dict[str, IntArray]:
        rows = self.row_cycles(operations)
        return {unit: operations.queries * cycles for unit, cycles in rows.items()}

    def run(self, trace: Trace, operations: Operations, timeline_heads: int) -> Record:
        self.check_buffers(operations)
        dram = Dram(self.dram)
        plan = make_plan(trace, operations, self.fetch, self.dram.transaction_bytes)
        engine = _RowEngine(self, operations, plan)
        groups = int(operations.group[-1]) + 1
        schedule = Pipeline(
            operations,
            plan,
            dram,
            engine,
            Buffers(self.key_buffer, self.value_buffer, self.fetch.request_latency_cycles),
            np.zeros(len(operations), np.bool_),
            np.zeros(groups, np.int64),
            timeline_heads,
        ).run()
        dram.finish(schedule.cycles)
        useful, transactions = plane_traffic(operations, plan)
        keys, _ = self.computed(operations)
        products = self.multiplications(operations)
        return Record(
            schedule=schedule,
            unit_cycles=engine.unit_cycles(schedule.cycles),
            counts=self._counts(operations, keys, products),
            useful_bytes=useful,
            transactions=transactions,
            multiplications=products,
            dram=dram,
            topk_data="none",
            timeline=timeline_columns(
                operations, schedule, engine.spans(timeline_heads), timeline_heads
            ),
        )

    def _counts(
        self,
        operations: Operations,
        keys: IntArray,
        products: IntArray,
    ) -> dict[str, IntArray]:
        ops = operations
        scores = ops.queries * keys
        row_bits = ops.head_dim * self.width_bits
        return {
            "multiply": products,
            "add": products,
            "key_sram_write_bit": ops.keys * row_bits,
            "key_sram_read_bit": scores * row_bits,
            "value_sram_write_bit": ops.keys * row_bits,
            "value_sram_read_bit": products * self.width_bits - scores * row_bits,
            "exponential": scores,
            "softmax_add": scores,
            "softmax_fifo_bit": 2 * scores * self.width_bits,
        } | self.extra_counts(operations)


class _RowEngine:
    """The units of one run, a `pipeline.HeadEngine`."""

    def __init__(self, machine: RowMachine, operations: Operations, plan: FetchPlan) -> None:
        rows = machine.row_cycles(operations)
        self._names = list(rows)
        self._work = np.stack(list(rows.values()), axis=1)
        self._head = machine.head_cycles(operations).tolist()
        self._latency = np.array(machine.unit_latencies(), np.int64)
        self._response = machine.fetch.response_latency_cycles
        self._plan = plan
        units = len(self._names)
        self._free = np.zeros(units, np.int64)
        self._cycles = np.zeros((units, len(kernel.STATES)), np.int64)
        self._ended: list[HeadTimes] = []
        self._spans: list[tuple[int, str, int, int]] = []

    @property
    def next_start(self) -> int:
        return int(self._free[0])

    @property
    def waiting(self) -> bool:
        return bool(self._ended)

    def start(self, operation: int, gate: int, arrivals: Arrivals, flush: bool) -> int | None:
        """Run a head to its end."""
        assert arrivals.values is not None  # fetched with K: these machines fetch everything
        last = self._plan.queries.last_of(operation)
        queries = np.maximum.accumulate(arrivals.queries)[last] + self._response
        spans = np.zeros((len(self._names), 2), np.int64)
        keys_ready = int(arrivals.keys.max()) + self._response + self._head[operation]
        end = kernel.run_head(
            self._free,
            self._cycles,
            spans,
            gate,
            keys_ready,
            queries,
            int(arrivals.values.max()) + self._response,
            self._work[operation],
            self._latency,
        )
        for name, (first, stop) in zip(self._names, spans.tolist(), strict=True):
            self._spans.append((operation, name, first, stop))
        keys_free = int(spans[:-1, 1].max())
        self._ended.append(HeadTimes(operation, keys_free, keys_free, int(end)))
        return None

    def resume(self, operation: int, lsbs: IntArray, flush: bool) -> int | None:
        raise AssertionError("these machines fetch whole operands")

    def flush(self) -> None:
        """Do nothing: every head is run to its end."""

    def finished(self) -> list[HeadTimes]:
        """Return the heads that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def run_values(self, times: HeadTimes, gate: int, values: IntArray) -> int:
        raise AssertionError("these machines fetch V with K")

    def spans(self, heads: int) -> list[tuple[int, str, int, int]]:
        """Return (head, unit, first start, last end) of the first heads."""
        return [span for span in self._spans if span[0] < heads]

    def unit_cycles(self, total: int) -> dict[str, dict[str, int]]:
        """Return how each unit spent all cycles of the run."""
        table = {}
        for unit, name in enumerate(self._names):
            states = dict(zip(kernel.STATES, self._cycles[unit].tolist(), strict=True))
            states["layer boundary"] += total - int(self._free[unit])
            table[name] = states
        return table


def key_share(keys: IntArray, ratio: float) -> IntArray:
    """Return a share of the keys, at least one."""
    shared: IntArray = np.maximum(1, np.ceil(keys * ratio)).astype(np.int64)
    return shared


def array_cycles(operations: Operations) -> IntArray:
    """Cycles that one key occupies an array of 64 multipliers."""
    widths = of_each_head(operations.head_dim, padded_head_dim)
    return -(-widths // eighth.MULTIPLIERS)
