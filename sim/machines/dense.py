"""The control: an output-stationary systolic array with SpAtten's multipliers and memory.

It exploits no sparsity: every trace runs as if nothing had been pruned, at full precision.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from sim.dram.model import Dram
from sim.energy.hardware import Hardware
from sim.machines import dense_kernel as kernel
from sim.machines.base import COMMON_FIDELITY, Machine, Record
from sim.machines.pipeline import Arrivals, Buffers, HeadTimes, Pipeline
from sim.machines.plan import FetchPlan, make_plan, plane_traffic
from sim.machines.timeline import timeline_columns
from sim.operations import Operations
from workloads.config import Config
from workloads.trace import Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]


class ArrayConfig(Config):
    """An output-stationary array of multiply-accumulate cells."""

    rows: int = Field(32, ge=1)
    """rows of cells: queries of a tile"""
    columns: int = Field(32, ge=1)
    """columns of cells: keys, or channels of V, of a fold"""

    @property
    def skew_cycles(self) -> int:
        """Cycles until the last cell starts: operands move one cell a cycle."""
        return self.rows + self.columns - 2

    def fold_cycles(self, depth: int) -> int:
        """Cycles of one fold: `depth` accumulations, at least `rows` to shift results out."""
        return max(depth, self.rows)

    def cycles(self, columns: int, depth: int) -> int:
        """Cycles of one tile of queries: folds follow each other without a gap."""
        return -(-columns // self.columns) * self.fold_cycles(depth)


class Dense(Machine):
    """The control machine."""

    name: ClassVar[str] = "dense"
    description: ClassVar[str] = (
        "control: 32 x 32 output-stationary systolic array, same multipliers and memory"
    )

    array: ArrayConfig = ArrayConfig()
    """systolic array"""

    @property
    def exploits(self) -> frozenset[str]:
        return frozenset()

    @property
    def multipliers(self) -> int:
        return self.array.rows * self.array.columns

    @property
    def hardware(self) -> Hardware:
        return self.make_hardware(self.array.columns, self.array.columns)

    @property
    def ideal(self) -> tuple[str, ...]:
        return (*super().ideal, "IdealScoreBuffer")

    @property
    def fidelity(self) -> tuple[str, ...]:
        return (
            "A control, not a published machine: an output-stationary array whose folds follow "
            "each other without a gap, and the same softmax unit, buffers and memory as spatten.",
            "It exploits no sparsity: pruned tokens and heads are fetched and computed, "
            f"every operand at {self.width_bits} bits.",
            "Q.K of the next tile, also of the next head, goes before Prob.V of this one.",
            "IdealScoreBuffer: two tiles of scores are held between array and softmax without "
            "a capacity limit or energy.",
            "Attention only, as on spatten.",
            *COMMON_FIDELITY,
        )

    def busy_cycles(self, operations: Operations) -> dict[str, IntArray]:
        score, softmax, value = _tile_cycles(self, operations)
        tiles = [len(tile) for tile in score]
        array = [int(s.sum()) + v * n for s, v, n in zip(score, value, tiles, strict=True)]
        return {
            "array": np.array(array, np.int64),
            "softmax": np.array([int(tile.sum()) for tile in softmax], np.int64),
        }

    def run(self, trace: Trace, operations: Operations, timeline_heads: int) -> Record:
        self.check_buffers(operations)
        dram = Dram(self.dram)
        plan = make_plan(trace, operations, self.fetch, self.dram.transaction_bytes)
        engine = _DenseEngine(self, operations, plan)
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
        return Record(
            schedule=schedule,
            unit_cycles=engine.unit_cycles(schedule.cycles),
            counts=self._counts(operations),
            useful_bytes=useful,
            transactions=transactions,
            multiplications=self.multiplications(operations),
            dram=dram,
            topk_data="none",
            timeline=timeline_columns(
                operations, schedule, engine.spans(timeline_heads), timeline_heads
            ),
        )

    def _counts(self, operations: Operations) -> dict[str, IntArray]:
        """Count the events that cost energy. SRAM is read once for each tile of queries."""
        ops = operations
        scores = ops.queries * ops.keys
        products = 2 * scores * ops.head_dim
        matrix_bits = ops.keys * ops.head_dim * self.width_bits
        tiles = -(-ops.queries // self.array.rows)
        return {
            "multiply": products,
            "add": products,
            "key_sram_write_bit": matrix_bits,
            "key_sram_read_bit": tiles * matrix_bits,
            "value_sram_write_bit": matrix_bits,
            "value_sram_read_bit": tiles * matrix_bits,
            "dequantise": scores,
            "exponential": scores,
            "softmax_add": scores,
            "division": scores,
            "quantise": scores,
            "softmax_fifo_bit": scores * self.width_bits,
        }


class _DenseEngine:
    """Array and softmax of one run, a `pipeline.HeadEngine`."""

    def __init__(self, machine: Dense, operations: Operations, plan: FetchPlan) -> None:
        self._machine = machine
        self._plan = plan
        self._score, self._softmax, self._value = _tile_cycles(machine, operations)
        self._free = np.zeros(len(kernel.UNITS), np.int64)
        self._cycles = np.zeros((len(kernel.UNITS), len(kernel.STATES)), np.int64)
        self._span = np.zeros((len(kernel.UNITS), 2), np.int64)
        self._pending = np.zeros(4, np.int64)
        self._started, self._gate, self._last_key = 0, 0, 0
        self._ended: list[HeadTimes] = []
        self._spans: list[tuple[int, str, int, int]] = []
        softmax = machine.softmax
        self._latency = (
            softmax.exp_latency_cycles + softmax.sum_latency_cycles + softmax.divide_latency_cycles
        )

    @property
    def next_start(self) -> int:
        return int(self._last_key)

    @property
    def waiting(self) -> bool:
        return bool(self._pending[kernel.WAITING])

    def start(self, operation: int, gate: int, arrivals: Arrivals, flush: bool) -> int | None:
        """Run a head up to the last Prob.V, which waits for the next head's first Q.K."""
        response = self._machine.fetch.response_latency_cycles
        assert arrivals.values is not None  # fetched with K: this machine selects nothing
        rows = self._machine.array.rows
        last = self._plan.queries.last_of(operation)
        tile_ends = np.append(last[rows - 1 :: rows], last[-1])[: len(self._score[operation])]
        query_done = np.maximum.accumulate(arrivals.queries)[tile_ends]
        self._last_key, end_before = kernel.run_head(
            self._free,
            self._cycles,
            self._span,
            self._pending,
            gate,
            int(arrivals.keys.max()) + response,
            query_done + response,
            int(arrivals.values.max()) + response,
            self._score[operation],
            self._softmax[operation],
            self._value[operation],
            (self._machine.array.skew_cycles, self._latency),
        )
        for unit, (start, stop) in enumerate(self._span.tolist()):
            self._spans.append((operation, kernel.UNITS[unit], start, stop))
        if end_before:
            self._end(operation - 1, int(end_before))
        self._started, self._gate = operation, gate
        if flush:
            self.flush()
        return None

    def resume(self, operation: int, lsbs: IntArray, flush: bool) -> int | None:
        raise AssertionError("the dense machine fetches whole operands")

    def flush(self) -> None:
        """Run the Prob.V that waits."""
        skew = self._machine.array.skew_cycles
        end = kernel.weight(self._free, self._cycles, self._pending, self._gate)
        self._end(self._started, int(end) + skew)

    def finished(self) -> list[HeadTimes]:
        """Return the heads that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def run_values(self, times: HeadTimes, gate: int, values: IntArray) -> int:
        raise AssertionError("the dense machine fetches V with K")

    def spans(self, heads: int) -> list[tuple[int, str, int, int]]:
        """Return (head, unit, first start, last end) of the first heads."""
        return [span for span in self._spans if span[0] < heads]

    def _end(self, operation: int, end: int) -> None:
        self._ended.append(HeadTimes(operation, keys_free=end, probabilities=end, end=end))

    def unit_cycles(self, total: int) -> dict[str, dict[str, int]]:
        """Return how each unit spent all cycles of the run."""
        table = {}
        for unit, name in enumerate(kernel.UNITS):
            states = dict(zip(kernel.STATES, self._cycles[unit].tolist(), strict=True))
            states["layer boundary"] += total - int(self._free[unit])
            table[name] = states
        return table


def _tile_cycles(
    machine: Dense, operations: Operations
) -> tuple[list[IntArray], list[IntArray], list[int]]:
    """Return for each head: Q.K and softmax cycles of its tiles, Prob.V cycles of a tile."""
    array, ops = machine.array, operations
    score, softmax, value = [], [], []
    for queries, keys, dim in zip(
        ops.queries.tolist(), ops.keys.tolist(), ops.head_dim.tolist(), strict=True
    ):
        tiles = -(-queries // array.rows)
        rows = np.full(tiles, array.rows, np.int64)
        rows[-1] = queries - (tiles - 1) * array.rows
        score.append(np.full(tiles, array.cycles(keys, dim), np.int64))
        softmax.append(rows * machine.softmax.cycles(keys))
        value.append(array.cycles(dim, keys))
    return score, softmax, value
