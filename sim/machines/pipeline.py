"""Heads through a machine: a fetcher, compute engines and a cascade controller, on SimPy.

The fetcher runs ahead of the compute engine as far as the K and V buffers have room.
A layer of an input opens when the layer before it is decided; after a prefill, the next input's
first layer is open at once, so its fetches overlap with the end of the input before it. Whole
heads move between the processes, with the arrival times of their operands; inside a head the
engine's recurrence is exact. Approximation: room that is freed while a head waits for its LSB
request is seen by the fetcher only then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import simpy

from sim.blocks.buffer import BufferConfig
from sim.dram.model import Dram
from sim.engine import Channel, Space, Wait, wait_until
from sim.machines.plan import FetchPlan
from sim.operations import Operations

IntArray = np.ndarray[Any, np.dtype[np.int64]]


class Arrivals(NamedTuple):
    """Cycles at which the transactions of one head's operands are there."""

    keys: IntArray
    queries: IntArray
    values: IntArray | None  # None: values are fetched after the selection


class HeadTimes(NamedTuple):
    """What the rest of the machine must know of a computed head."""

    operation: int
    keys_free: int  # K may be overwritten
    probabilities: int  # the first of the head's probabilities is known
    end: int  # last output; with values still to be fetched, last probability
    decided: int = 0  # the last of the probabilities has reached the importance accumulators


class HeadEngine(Protocol):
    """The compute side of a machine. A head may still be in flight when the next one starts."""

    @property
    def next_start(self) -> int:
        """Cycle at which the first unit can take another head."""

    @property
    def waiting(self) -> bool:
        """Whether a started head has not been reported as finished."""

    def start(self, operation: int, gate: int, arrivals: Arrivals, flush: bool) -> int | None:
        """Start a head; return the cycle at which it asks for LSBs, if it does.

        `flush`: finish all heads in flight, none follows at once.
        """

    def resume(self, operation: int, lsbs: IntArray, flush: bool) -> int | None:
        """Go on with a head whose LSBs arrive at these cycles; returns as `start`."""

    def flush(self) -> None:
        """Finish all heads in flight."""

    def finished(self) -> list[HeadTimes]:
        """Return the heads that have ended since the last call, in order."""

    def run_values(self, times: HeadTimes, gate: int, values: IntArray) -> int:
        """Run Prob.V of a head whose values came after the selection; return its end."""


@dataclass(frozen=True)
class Buffers:
    """Flow control between fetcher and engines."""

    keys: BufferConfig
    values: BufferConfig
    request_latency_cycles: int


@dataclass(frozen=True)
class Flow:
    """What waits for what, where machines differ. The defaults suit one without pruning."""

    prefetch_keys: bool = True
    """K of the next heads is fetched while a head is multiplied; false: after its last product"""
    layers_wait: bool = True
    """a layer waits for the outputs of the layer before; false: only for its selections"""
    token_cycles: IntArray | None = None
    """(groups,) cycles of selections that start with a layer's last probabilities, beside the
    rest of the layer; the next layer waits for them too"""
    first_cycle: int = 0
    """cycle at which the machine can take its first request"""
    between: Callable[[int, int], tuple[int, int]] | None = None
    """work between layers, called as (group, cycle) before each group and once after the last;
    returns when what belongs to the group before is done, and when this group may start"""


@dataclass
class Schedule:
    """When things ended."""

    group_end: IntArray
    fetch_spans: list[tuple[int, str, int, int]] = field(default_factory=list)
    cascade_spans: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        return int(self.group_end.max())


DEFAULT_FLOW = Flow()


class Pipeline:
    """One run of all heads of a trace.

    Args:
        operations: the heads, in order.
        plan: their DRAM transactions.
        dram: the memory, shared by all fetches.
        engine: the compute side.
        buffers: sizes of what lies between.
        late: (heads,) true where V is fetched only after the selection; alike in a layer.
        cascade_cycles: (groups,) cycles from a layer's last output to its decision.
        timeline_heads: number of heads whose fetches are recorded.
        flow: what waits for what.
    """

    def __init__(
        self,
        operations: Operations,
        plan: FetchPlan,
        dram: Dram,
        engine: HeadEngine,
        buffers: Buffers,
        late: np.ndarray[Any, np.dtype[np.bool_]],
        cascade_cycles: IntArray,
        timeline_heads: int,
        flow: Flow = DEFAULT_FLOW,
    ) -> None:
        self._flow = flow
        self._ops = operations
        self._plan = plan
        self._dram = dram
        self._engine = engine
        self._late = late.tolist()
        self._cascade = cascade_cycles.tolist()
        self._timeline_heads = timeline_heads
        self._latency = buffers.request_latency_cycles
        self._group = operations.group.tolist()
        self._recomputed = (operations.recomputed > 0).tolist()
        groups = self._group[-1] + 1
        first = np.searchsorted(operations.group, np.arange(groups))
        sequence = operations.sequence[first]
        # A layer follows the one before it, except that an input need not wait for another
        # input; it does where values of that one are still to be fetched into the same buffer
        same_input = sequence[1:] == sequence[:-1]
        beside = np.zeros(groups, np.int64) if flow.token_cycles is None else flow.token_cycles
        self._beside = beside.tolist()
        waits = same_input & (flow.layers_wait | ((cascade_cycles + beside)[:-1] > 0))
        shares_buffer = late[first][:-1] & ~same_input
        follows = waits | shares_buffer | (flow.between is not None)
        self._follows = np.concatenate([[False], follows]).tolist()
        streams = same_input & ~follows  # heads of both layers may be in flight together
        self._streams = np.append(streams, False).tolist()
        self._last = np.append(first[1:] - 1, len(operations) - 1).tolist()
        self._first_of = first.tolist()
        joined, starts = plan.together(~late)
        self._first, self._first_starts = joined, starts.tolist()
        self._key_counts = plan.keys.counts.tolist()
        self._query_counts = plan.queries.counts.tolist()
        self._env = simpy.Environment()
        self._gates = [0] * groups
        self._opened: dict[int, simpy.Event] = {}
        self._cascade_free = 0
        self._arrival = 0
        self._done = False
        widest = int(operations.head_dim.max())
        keys, values = buffers.keys, buffers.values
        self._key_space = Space(self._env, keys.total_rows(widest), keys.heads)
        self._value_space = Space(self._env, values.total_rows(widest), values.heads)
        self._key_rows = operations.keys.tolist()
        self._value_rows = operations.values_fetched.tolist()
        self._queue = Channel(self._env, keys.heads)
        self._turn = Channel(self._env, 1)
        self._late_queue = Channel(self._env, values.heads)
        self.schedule = Schedule(np.zeros(groups, np.int64))

    def run(self) -> Schedule:
        """Run to the end."""
        self._env.process(self._fetch())
        self._env.process(self._compute())
        if any(self._late):
            self._env.process(self._compute_late_values())
        self._env.run()
        if not self._done:
            raise RuntimeError("the pipeline stopped before its last head: a deadlock in the model")
        return self.schedule

    def _fetch(self) -> Wait:
        self._gates[0] = self._flow.first_cycle
        if self._flow.between is not None:
            self._gates[0] = self._flow.between(0, self._gates[0])[1]
        yield from wait_until(self._env, self._gates[0])
        for op in range(len(self._ops)):
            group = self._group[op]
            if op and not self._flow.prefetch_keys:
                yield from self._turn.get()
            if op == self._first_of[group] and self._follows[group]:
                yield from self._wait_for_gate(group)
            yield from self._key_space.acquire(self._key_rows[op])
            if not self._late[op]:
                yield from self._value_space.acquire(self._value_rows[op])
            yield from self._queue.put((op, self._read_operands(op)))

    def _read_operands(self, op: int) -> Arrivals:
        done = self._read(self._first[self._first_starts[op] : self._first_starts[op + 1]])
        keys, queries = self._key_counts[op], self._query_counts[op]
        arrivals = Arrivals(
            done[:keys],
            done[keys : keys + queries],
            None if self._late[op] else done[keys + queries :],
        )
        self._record(op, ("K", "Q", "V"), arrivals)
        return arrivals

    def _compute(self) -> Wait:
        engine, env = self._engine, self._env
        for _ in range(len(self._ops)):
            op, arrivals = yield from self._queue.get()
            gate = self._gates[self._group[op]]
            flush = op == self._last[self._group[op]] and not self._streams[self._group[op]]
            lsb_request = engine.start(op, gate, arrivals, flush)
            while lsb_request is not None:
                yield from wait_until(env, lsb_request)
                lsbs = self._read_lsbs(op)
                self._record(op, ("K LSB",), (lsbs,))
                lsb_request = engine.resume(op, lsbs, flush)
            yield from self._settle(engine.finished())
            if not self._flow.prefetch_keys:
                yield from wait_until(env, engine.next_start)
                yield from self._turn.put(op)
                yield env.timeout(0)  # a fetch that need not wait puts the next head in the queue
            if engine.waiting and self._queue.empty:
                engine.flush()
                yield from self._settle(engine.finished())
            yield from wait_until(env, engine.next_start)
        self._done = True

    def _settle(self, finished: list[HeadTimes]) -> Wait:
        """Free what finished heads held, or hand them on to be weighted with their values."""
        for times in finished:
            op = times.operation
            self._key_space.release_at(times.keys_free, self._key_rows[op])
            if self._late[op]:
                yield from self._late_queue.put(times)
            else:
                self._end_head(times, times.end)

    def _compute_late_values(self) -> Wait:
        env = self._env
        for _ in range(sum(self._late)):
            times = yield from self._late_queue.get()
            op = times.operation
            yield from wait_until(env, times.probabilities)
            yield from self._value_space.acquire(self._value_rows[op])
            values = self._read_values(op)
            self._record(op, ("V",), (values,))
            gate = self._gates[self._group[op]]
            self._end_head(times, self._engine.run_values(times, gate, values))

    def _read_lsbs(self, op: int) -> IntArray:
        """Fetch the LSB planes of a head; return the arrivals of K's, none before all of Q's."""
        keys, queries = self._plan.lsbs.of(op), self._plan.query_lsbs.of(op)
        values = self._plan.value_lsbs.of(op)
        parts = (keys, queries) if self._late[op] else (keys, queries, values)
        done = self._read(np.concatenate(parts))
        first = done[len(keys) : len(keys) + len(queries)].max(initial=0)
        arrivals: IntArray = np.maximum(done[: len(keys)], first)
        return arrivals

    def _read_values(self, op: int) -> IntArray:
        """Fetch the selected V rows; their last is complete with the last of their LSBs."""
        values, lsbs = self._plan.values.of(op), self._plan.value_lsbs.of(op)
        done = self._read(np.concatenate((values, lsbs)))
        arrivals = done[: len(values)]
        arrivals[-1] = done.max()
        return arrivals

    def _read(self, transactions: IntArray) -> IntArray:
        self._arrival = int(self._env.now) + self._latency
        return self._dram.read(transactions, self._arrival)

    def _record(self, op: int, names: Sequence[str], completions: Sequence[Any]) -> None:
        if op >= self._timeline_heads:
            return
        for name, done in zip(names, completions, strict=True):
            if done is not None and len(done):
                span = (op, name, self._arrival, int(done.max()))
                self.schedule.fetch_spans.append(span)

    def _wait_for_gate(self, group: int) -> Wait:
        if self._gates[group] == 0:
            self._opened[group] = self._env.event()
            yield self._opened[group]
        yield from wait_until(self._env, self._gates[group])

    def _end_head(self, times: HeadTimes, end: int) -> None:
        op = times.operation
        self._value_space.release_at(end, self._value_rows[op])
        group = self._group[op]
        if op != self._last[group]:
            return
        chosen = self._select(op, group, times.decided, self._beside[group])
        end = self._select(op, group, max(end, chosen), self._cascade[group])
        gate = end
        if self._flow.between is not None:
            end, gate = self._flow.between(group + 1, end)
        self.schedule.group_end[group] = end
        if group + 1 < len(self._gates) and self._follows[group + 1]:
            self._gates[group + 1] = gate
            if group + 1 in self._opened:
                self._opened.pop(group + 1).succeed()

    def _select(self, op: int, group: int, ready: int, cycles: int) -> int:
        """Run cascade selections of a layer once their scores are there; return their end."""
        if not cycles:
            return ready
        start = max(ready, self._cascade_free)
        self._cascade_free = start + cycles
        if op < self._timeline_heads:
            self.schedule.cascade_spans.append((group, start, self._cascade_free))
        return self._cascade_free
