"""Where the operands of each head lie in DRAM, and which transactions fetch them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit

from sim.blocks.fetch import FetchConfig, _plane_transactions
from sim.once import once
from sim.operations import Operations, plane_bytes, recompute_flags
from workloads.errors import InputError
from workloads.trace import Ragged, Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

TENSORS = (("K", "MSB"), ("K", "LSB"), ("V", "MSB"), ("Q", "MSB"))
"""Planes of one head, in the order in which they lie in DRAM."""
OPTIONAL_TENSORS = (("V", "LSB"), ("Q", "LSB"))
"""Planes that few machines have, behind the regions of all heads."""


@dataclass(frozen=True)
class PlanePlan:
    """Transactions of one plane for every head, flat.

    Head i fetches `transactions[starts[i]:starts[i + 1]]`; its row r is complete with
    transaction `last[row_starts[i] + r]` of those.
    """

    transactions: IntArray
    starts: IntArray
    last: IntArray
    row_starts: IntArray

    def of(self, operation: int) -> IntArray:
        return self.transactions[self.starts[operation] : self.starts[operation + 1]]

    def last_of(self, operation: int) -> IntArray:
        return self.last[self.row_starts[operation] : self.row_starts[operation + 1]]

    @property
    def counts(self) -> IntArray:
        return np.diff(self.starts)


@dataclass(frozen=True, eq=False)
class FetchPlan:
    """What each head fetches: K (first plane), K's LSB plane, V, Q, and LSB planes of V and Q.

    Two are equal only if they are one.
    """

    keys: PlanePlan
    lsbs: PlanePlan
    values: PlanePlan
    queries: PlanePlan
    value_lsbs: PlanePlan
    query_lsbs: PlanePlan

    @property
    def size(self) -> int:
        """Transactions of all heads."""
        planes = (getattr(self, plane.name) for plane in fields(self))
        return sum(len(plane.transactions) for plane in planes)

    def together(self, with_values: BoolArray) -> tuple[IntArray, IntArray]:
        """Return each head's K, Q and, where wanted, V as one list of transactions, and starts."""
        value_counts = np.where(with_values, self.values.counts, 0)
        starts = np.zeros(len(with_values) + 1, np.int64)
        np.cumsum(self.keys.counts + self.queries.counts + value_counts, out=starts[1:])
        joined = np.empty(starts[-1], np.int64)
        ahead = starts[:-1].copy()
        parts = (
            (self.keys, self.keys.counts),
            (self.queries, self.queries.counts),
            (self.values, value_counts),
        )
        for plane, counts in parts:
            place = np.repeat(ahead, counts) + counting(counts).values
            source = np.repeat(plane.starts[:-1], counts) + counting(counts).values
            joined[place] = plane.transactions[source]
            ahead += counts
        return joined, starts


def make_plan(
    trace: Trace, operations: Operations, fetch: FetchConfig, transaction_bytes: int
) -> FetchPlan:
    """Lay the planes out and list the transactions of every head.

    Every head of every layer has its own region, reused from input to input. In a prefill the
    surviving rows lie packed, since pruned tokens were never written; in a generation step the
    cache holds every token, so kept rows are gathered from their positions. Where the trace
    gives no positions, rows are taken evenly spread: only counts are known then. The plan is the
    same object for the same operations, widths and transactions.
    """
    without_latencies = FetchConfig(stored_bits=fetch.stored_bits)
    return _make_plan(trace, operations, without_latencies, transaction_bytes)


@once(kept=8)
def _make_plan(
    trace: Trace, operations: Operations, fetch: FetchConfig, transaction_bytes: int
) -> FetchPlan:
    ops = operations
    model = trace.header.model
    bits = stored_bits(ops, fetch)
    plane = _plane_size(operations, fetch, transaction_bytes)
    number = ops.layer * model.heads + ops.head
    all_heads = model.layers * model.heads
    keys, values = _row_numbers(trace, operations)
    place = {
        ("K", "MSB"): keys,
        ("K", "LSB"): keys,
        ("V", "MSB"): values,
        ("V", "LSB"): values,
        ("Q", "MSB"): counting(ops.queries),
        ("Q", "LSB"): _recomputed_rows(trace, operations),
    }
    counts = plane_rows(operations)
    bases = {
        tensor: (number * len(TENSORS) + index) * plane for index, tensor in enumerate(TENSORS)
    }
    for index, tensor in enumerate(OPTIONAL_TENSORS):
        bases[tensor] = ((len(TENSORS) + index) * all_heads + number) * plane
    plans = []
    for tensor, base in bases.items():
        flat, count = place[tensor], counts[tensor]
        plans.append(
            PlanePlan(
                *_plan(
                    base,
                    ops.head_dim * bits[tensor],
                    flat.values.astype(np.int64),
                    flat.offsets,
                    count.astype(np.int64),
                    transaction_bytes * 8,
                )
            )
        )
    return FetchPlan(*plans)


def regions_end(
    trace: Trace, operations: Operations, fetch: FetchConfig, transaction_bytes: int
) -> int:
    """Return the first transaction behind the regions of all heads."""
    model = trace.header.model
    planes = len(TENSORS) + len(OPTIONAL_TENSORS)
    return model.layers * model.heads * planes * _plane_size(operations, fetch, transaction_bytes)


def _plane_size(operations: Operations, fetch: FetchConfig, transaction_bytes: int) -> int:
    longest = int(np.max(operations.keys_dense))
    size = -(-longest * int(np.max(operations.head_dim)) * max(fetch.stored_bits) // 8)
    return -(-size // transaction_bytes)


def stored_bits(operations: Operations, fetch: FetchConfig) -> dict[tuple[str, str], IntArray]:
    """Return the bits each plane's elements occupy in DRAM, by (tensor, plane).

    Raises:
        InputError: an operand wider than any stored width, named by row and column.
    """
    widest = max(fetch.stored_bits)
    for name in ("q_bits", "k_bits", "v_bits", "k_lsb_bits", "q_lsb_bits", "v_lsb_bits"):
        found = getattr(operations, name)
        if (found > widest).any():
            at = int(np.argmax(found > widest))
            raise InputError(
                f"attention.parquet row {operations.rows[at]}: {name} must be at most {widest}, "
                f"the widest element in DRAM, not {found[at]}"
            )
    widths = np.array([fetch.stored_width(bits) for bits in range(widest + 1)], np.int64)
    return {
        ("K", "MSB"): widths[operations.k_bits],
        ("K", "LSB"): widths[operations.k_lsb_bits],
        ("V", "MSB"): widths[operations.v_bits],
        ("V", "LSB"): widths[operations.v_lsb_bits],
        ("Q", "MSB"): widths[operations.q_bits],
        ("Q", "LSB"): widths[operations.q_lsb_bits],
    }


def plane_rows(operations: Operations) -> dict[tuple[str, str], IntArray]:
    """Return the rows that each head fetches of each plane, by (tensor, plane)."""
    ops = operations
    again = ops.recomputed > 0
    return {
        ("K", "MSB"): ops.keys,
        ("K", "LSB"): np.where(again & (ops.k_lsb_bits > 0), ops.keys, 0),
        ("V", "MSB"): ops.values_fetched,
        ("V", "LSB"): np.where(again & (ops.v_lsb_bits > 0), ops.values_fetched, 0),
        ("Q", "MSB"): ops.queries,
        ("Q", "LSB"): np.where(ops.q_lsb_bits > 0, ops.recomputed, 0),
    }


def plane_traffic(
    operations: Operations, plan: FetchPlan
) -> tuple[dict[tuple[str, str], IntArray], dict[tuple[str, str], IntArray]]:
    """Return useful bytes and DRAM transactions of each head, by (tensor, plane).

    Useful bytes are what the trace asks for: rows x channels x bits. Transactions also hold
    what the stored width, and the granularity of the memory, add.
    """
    ops = operations
    bits = {
        ("K", "MSB"): ops.k_bits,
        ("K", "LSB"): ops.k_lsb_bits,
        ("V", "MSB"): ops.v_bits,
        ("V", "LSB"): ops.v_lsb_bits,
        ("Q", "MSB"): ops.q_bits,
        ("Q", "LSB"): ops.q_lsb_bits,
    }
    rows = plane_rows(ops)
    planes = (plan.keys, plan.lsbs, plan.values, plan.queries, plan.value_lsbs, plan.query_lsbs)
    transactions = {
        tensor: plane.counts
        for tensor, plane in zip((*TENSORS, *OPTIONAL_TENSORS), planes, strict=True)
        if tensor in TENSORS or plane.counts.any()
    }
    useful = {
        tensor: plane_bytes(rows[tensor], ops.head_dim, bits[tensor]) for tensor in transactions
    }
    return useful, transactions


def _recomputed_rows(trace: Trace, operations: Operations) -> Ragged:
    """Return the ordinals of the queries whose Q is fetched again."""
    counts = plane_rows(operations)["Q", "LSB"]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    given = np.ones(len(counts), np.bool_)
    if not counts.any():
        return Ragged(np.zeros(0, np.int64), offsets, given)
    flags = recompute_flags(trace, operations)
    rows = [np.flatnonzero(of) for of, count in zip(flags, counts, strict=True) if count]
    return Ragged(np.concatenate(rows), offsets, given)


def _row_numbers(trace: Trace, operations: Operations) -> tuple[Ragged, Ragged]:
    """Row numbers of K and V inside their regions, for every operation."""
    ops = operations
    key_ids = _known_rows(trace, "key_ids", ops.rows, ops.keys)
    value_ids = _known_rows(trace, "value_ids", ops.rows, ops.values_fetched)
    prefill = ops.step == 0
    return (
        _place(key_ids, key_ids, ops.keys, ops.keys_dense, prefill),
        _place(value_ids, key_ids, ops.values_fetched, ops.keys_dense, prefill),
    )


def _known_rows(trace: Trace, name: str, rows: IntArray, counts: IntArray) -> Ragged:
    """Identities of each operation; unknown where the machine runs more rows than were kept."""
    ids = trace.ragged("attention", name)
    return ids.take(rows, ids.lengths[rows] == counts)


def _place(ids: Ragged, key_ids: Ragged, counts: IntArray, dense: IntArray, prefill: Any) -> Ragged:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    values = _place_rows(
        ids.values.astype(np.int64),
        ids.offsets,
        ids.given,
        key_ids.values.astype(np.int64),
        key_ids.offsets,
        key_ids.given,
        offsets,
        dense.copy(),  # a column may be read-only, for which numba would compile once more
        prefill,
    )
    return Ragged(values, offsets, np.ones(len(counts), np.bool_))


@njit(cache=True)
def _place_rows(
    ids: Any,
    id_offsets: Any,
    given: Any,
    key_ids: Any,
    key_offsets: Any,
    key_given: Any,
    offsets: Any,
    dense: Any,
    prefill: Any,
) -> Any:
    rows = np.empty(offsets[-1], np.int64)
    for op in range(len(offsets) - 1):
        count = offsets[op + 1] - offsets[op]
        out = rows[offsets[op] : offsets[op + 1]]
        mine = ids[id_offsets[op] : id_offsets[op + 1]]
        if prefill[op]:
            keys = key_ids[key_offsets[op] : key_offsets[op + 1]]
            if given[op] and key_given[op]:
                out[:] = np.searchsorted(np.sort(keys), np.sort(mine))
            else:
                out[:] = np.arange(count)
        elif given[op]:
            out[:] = np.sort(mine)
        else:
            for i in range(count):
                out[i] = i * dense[op] // count
    return rows


def counting(counts: IntArray) -> Ragged:
    """Return 0, 1, 2 ... for each count."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    values = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return Ragged(values, offsets, np.ones(len(counts), np.bool_))


@njit(cache=True)
def _plan(
    base: Any, row_bits: Any, rows: Any, offsets: Any, counts: Any, transaction_bits: int
) -> Any:
    operations = len(base)
    most = 0
    for op in range(operations):
        most += (row_bits[op] // transaction_bits + 2) * counts[op]
    transactions = np.empty(most, np.int64)
    last = np.empty(counts.sum(), np.int64)
    starts = np.zeros(operations + 1, np.int64)
    row_starts = np.zeros(operations + 1, np.int64)
    for op in range(operations):
        mine = rows[offsets[op] : offsets[op] + counts[op]]
        found, ends = _plane_transactions(base[op], row_bits[op], mine, transaction_bits)
        starts[op + 1] = starts[op] + len(found)
        transactions[starts[op] : starts[op + 1]] = found
        row_starts[op + 1] = row_starts[op] + counts[op]
        last[row_starts[op] : row_starts[op + 1]] = ends
    return transactions[: starts[-1]].copy(), starts, last, row_starts
