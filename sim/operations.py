"""Lowering: which work of a trace a machine really does, given the sparsity it can exploit.

The kinds of sparsity form a ladder. A machine climbs only the rungs that it exploits; what the
trace offers beyond that runs dense, and `sparsity_table` says how much that was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.once import once
from workloads.errors import InputError
from workloads.trace import Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
FloatArray = np.ndarray[Any, np.dtype[np.float64]]

VALUE_PREFILL, VALUE_GENERATION = "value (prefill)", "value (generation)"

KINDS = (
    "head",
    "token",
    VALUE_PREFILL,
    VALUE_GENERATION,
    "channel",
    "element",
    "block",
    "precision",
)
"""Kinds of sparsity of attention, in the order in which they are counted. A value row that a
prefill query drops saves work only; in generation it is not even fetched."""

_COLUMNS = (
    "sequence",
    "step",
    "layer",
    "head",
    "queries_dense",
    "queries",
    "keys_dense",
    "keys",
    "values",
    "values_fetched",
    "head_dim",
    "q_bits",
    "k_bits",
    "v_bits",
    "k_lsb_bits",
    "v_lsb_bits",
    "recomputed",
    "key_channels",
    "value_channels",
    "block_queries",
    "block_keys",
    "blocks",
    "scored_keys",
    "scored_channels",
    "key_rank",
    "value_rank",
)


@dataclass(frozen=True, eq=False)
class Operations:
    """Heads to run, one entry each, in the order (sequence, step, layer, head).

    All arrays are (operations,) int64. `rows` are the rows of attention.parquet they come from;
    `group` numbers the layers of steps of sequences from 0, without gaps. `q_lsb_bits` are 0 in a
    trace: what a machine stores of Q apart is its own choice. Two are equal only if they are one.
    """

    rows: IntArray
    group: IntArray
    sequence: IntArray
    step: IntArray
    layer: IntArray
    head: IntArray
    queries: IntArray
    queries_dense: IntArray
    keys: IntArray
    keys_dense: IntArray
    values: IntArray
    values_fetched: IntArray
    head_dim: IntArray
    q_bits: IntArray
    k_bits: IntArray
    v_bits: IntArray
    k_lsb_bits: IntArray
    q_lsb_bits: IntArray
    v_lsb_bits: IntArray
    recomputed: IntArray

    def __len__(self) -> int:
        return len(self.rows)


def lower(trace: Trace, exploits: Collection[str], width_bits: int) -> Operations:
    """Return the heads a machine runs.

    Args:
        trace: what the algorithm decided.
        exploits: kinds of `KINDS` that the machine leaves out of its work.
        width_bits: on-chip width, the precision at which dense operands are fetched.

    Returns:
        The same object for the same trace, kinds and width, its arrays read-only.

    Raises:
        InputError: a trace without attention, a head without keys or values, an unknown kind.
    """
    return _lower(trace, frozenset(exploits), width_bits)


@once(kept=16)
def _lower(trace: Trace, exploits: frozenset[str], width_bits: int) -> Operations:
    columns = _columns(trace)
    if not len(columns["layer"]):
        raise InputError("attention.parquet must have at least 1 row to simulate, it has 0")
    work = _climb(columns, exploits, width_bits)
    runs = np.flatnonzero(work["queries"] > 0)
    for name in ("keys", "values", "values_fetched"):
        if (work[name][runs] < 1).any():
            row = int(runs[np.argmax(work[name][runs] < 1)])
            raise InputError(
                f"attention.parquet row {row}: {name} must be at least 1 for a head that runs, "
                f"not {int(work[name][row])}"
            )
    keys = np.stack([columns[name] for name in ("sequence", "step", "layer")])
    new_group = np.any(np.diff(keys[:, runs], axis=1) != 0, axis=0)
    group = np.concatenate([[0], np.cumsum(new_group)]).astype(np.int64)
    return Operations(
        rows=runs,
        group=group[: len(runs)],
        **{name: columns[name][runs] for name in ("sequence", "step", "layer", "head")},
        **{
            name: work[name][runs].astype(np.int64)
            for name in (
                "queries",
                "keys",
                "values",
                "values_fetched",
                "q_bits",
                "k_bits",
                "v_bits",
                "k_lsb_bits",
                "v_lsb_bits",
                "recomputed",
            )
        },
        q_lsb_bits=np.zeros(len(runs), np.int64),
        queries_dense=columns["queries_dense"][runs],
        keys_dense=columns["keys_dense"][runs],
        head_dim=columns["head_dim"][runs],
    )


def sparsity_table(trace: Trace, exploits: Collection[str], width_bits: int) -> pd.DataFrame:
    """Return offered and exploited sparsity by kind: see `TABLE_COLUMNS["sparsity"]`.

    Kinds are counted one after another, those that the machine exploits first, each on what the
    kinds before it left: the offered amounts add up to all that the trace leaves out, the
    exploited ones to all that the machine leaves out. `precision` removes bytes, and *adds*
    multiplications where queries are recomputed: that amount is negative.
    """
    return pd.DataFrame(sparsity_columns(trace, frozenset(exploits), width_bits))


@once(kept=16)
def sparsity_columns(
    trace: Trace, exploits: frozenset[str], width_bits: int
) -> dict[str, tuple[Any, ...]]:
    """Return the columns of `sparsity_table`."""
    columns = _columns(trace)
    order = sorted(KINDS, key=lambda kind: (kind not in exploits, KINDS.index(kind)))
    dense = _amounts(columns, _climb(columns, (), width_bits))
    offered = _steps(columns, order, width_bits)
    rows = [
        (kind, quantity, whole, offered[kind][quantity], kind in exploits)
        for kind in KINDS
        for quantity, whole in dense.items()
    ]
    return {
        "kind": tuple(kind for kind, *_ in rows),
        "quantity": tuple(quantity for _, quantity, *_ in rows),
        "dense": tuple(whole for _, _, whole, _, _ in rows),
        "offered": tuple(removed for *_, removed, _ in rows),
        "exploited": tuple(removed if used else 0 for *_, removed, used in rows),
    }


@once(kept=1)
def dense_multiplications(trace: Trace) -> int:
    """Return the multiplications of the trace's attention without any pruning."""
    columns = _columns(trace)
    return _amounts(columns, _climb(columns, (), 12))["multiplications"]


def multiplications(operations: Operations) -> IntArray:
    """Return the multiplications of each head: Q.K, again where recomputed, and Prob.V."""
    ops = operations
    rows = (ops.queries + ops.recomputed) * ops.keys + ops.queries * ops.values
    total: IntArray = rows * ops.head_dim
    return total


@once(kept=16)
def recompute_flags(trace: Trace, operations: Operations) -> tuple[BoolArray, ...]:
    """Return (queries,) flags of each head; evenly spread where a trace gives only a count."""
    ops = operations
    ids = trace.ragged("attention", "recomputed_queries")
    flags = []
    for row, queries, count in zip(
        ops.rows.tolist(), ops.queries.tolist(), ops.recomputed.tolist(), strict=True
    ):
        needs = np.full(queries, count == queries)
        if 0 < count < queries and ids.given[row]:
            needs[ids.row(row)] = True
        elif 0 < count < queries:
            needs[np.arange(count) * queries // count] = True
        flags.append(needs)
    return tuple(flags)


def of_each_head(head_dim: IntArray, function: Callable[[int], int]) -> IntArray:
    """Return (heads,) what a function gives for the dimension of each head."""
    dims, which = np.unique(head_dim, return_inverse=True)
    of_dim = np.array([function(dim) for dim in dims.tolist()], np.int64)
    of_head: IntArray = of_dim[which]
    return of_head


def plane_bytes(rows: IntArray, head_dim: IntArray, bits: IntArray) -> IntArray:
    """Return the bytes of some rows of a packed bit plane, rounded up to whole bytes."""
    size: IntArray = -(-rows * head_dim * bits // 8)
    return size


@once(kept=1)
def _columns(trace: Trace) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: trace.array("attention", name).astype(np.int64) for name in _COLUMNS
    }
    for name in ("key_density", "value_density", "delta_density"):
        columns[name] = trace.array("attention", name).astype(np.float64)
    columns["alive"] = trace.array("attention", "alive")
    return columns


def _climb(columns: dict[str, Any], exploits: Collection[str], width_bits: int) -> dict[str, Any]:
    """Return the work of every row when only some kinds of sparsity are exploited."""
    unknown = set(exploits) - set(KINDS)
    if unknown:
        raise InputError(f"a machine exploits kinds of {', '.join(KINDS)}, not {sorted(unknown)}")
    runs = columns["alive"] | np.full(len(columns["alive"]), "head" not in exploits)
    work: dict[str, Any] = {}
    if "token" in exploits:
        work["queries"] = _of_layer(columns, columns["queries"]) * runs
        # keys of which only some channels are read to score them are read whole without that
        read = np.maximum(columns["keys"], columns["scored_keys"])
        work["keys"] = _of_layer(columns, read) * runs
    else:
        work["queries"] = columns["queries_dense"] * runs
        work["keys"] = columns["keys_dense"] * runs
    pruned = columns["alive"] & np.where(
        columns["step"] == 0, VALUE_PREFILL in exploits, VALUE_GENERATION in exploits
    )
    for name in ("values", "values_fetched"):
        scaled = columns[name] * work["keys"]  # the kept share of the keys that the machine has
        kept = -(-scaled // np.maximum(columns["keys"], 1))
        kept = np.where(columns["scored_keys"] > 0, np.minimum(columns[name], kept), kept)
        work[name] = np.where(pruned, kept, work["keys"])
    _climb_precision(columns, work, runs, "precision" in exploits, width_bits)
    work["qk_share"], work["pv_share"] = _inner_shares(columns, exploits)
    return work


def _of_layer(columns: dict[str, Any], counts: IntArray) -> IntArray:
    """Give heads that were pruned the count of the alive heads of their layer."""
    keys = np.stack([columns[name] for name in ("sequence", "step", "layer")])
    starts = np.flatnonzero(np.any(np.diff(keys, axis=1, prepend=-1) != 0, axis=0))
    if not len(starts):
        return counts
    largest = np.maximum.reduceat(counts, starts)
    of_layer = np.repeat(largest, np.diff(np.append(starts, len(counts))))
    most: IntArray = np.where(columns["alive"], counts, of_layer)
    return most


def _climb_precision(
    columns: dict[str, Any], work: dict[str, Any], runs: Any, exploited: bool, width_bits: int
) -> None:
    alive = columns["alive"]
    for name in ("q_bits", "k_bits", "v_bits"):
        work[name] = np.where(alive & exploited, columns[name], width_bits)
    for name in ("k_lsb_bits", "v_lsb_bits", "recomputed"):
        work[name] = np.where(alive & exploited & runs, columns[name], 0)


def _inner_shares(
    columns: dict[str, Any], exploits: Collection[str]
) -> tuple[FloatArray, FloatArray]:
    """Shares of Q.K and Prob.V left by sparsity inside the rows: channels, elements, blocks."""
    qk = np.ones(len(columns["layer"]))
    pv = np.ones(len(columns["layer"]))
    head_dim = columns["head_dim"]
    if "channel" in exploits:
        for tensor, share in (("key", qk), ("value", pv)):
            channels, rank = columns[f"{tensor}_channels"], columns[f"{tensor}_rank"]
            kept = np.where(channels > 0, channels, np.where(rank > 0, rank, head_dim))
            np.multiply(share, kept / head_dim, out=share)
        if "token" in exploits:
            np.multiply(qk, _scored_share(columns), out=qk)
    if "element" in exploits:
        qk *= columns["key_density"] * columns["delta_density"]
        pv *= columns["value_density"]
    if "block" in exploits:
        whole = np.maximum(columns["queries"] * columns["keys"], 1)
        covered = columns["blocks"] * columns["block_queries"] * columns["block_keys"]
        share = np.where(columns["block_keys"] > 0, np.minimum(covered / whole, 1.0), 1.0)
        qk *= share
        pv *= share
    return qk, pv


def _scored_share(columns: dict[str, Any]) -> FloatArray:
    """Share of Q.K where a pass over some channels of all keys says which are read whole."""
    scored = columns["scored_keys"]
    passed = scored * columns["scored_channels"] / columns["head_dim"] + columns["keys"]
    share: FloatArray = np.where(scored > 0, np.minimum(passed / np.maximum(scored, 1), 1.0), 1.0)
    return share


def _amounts(columns: dict[str, Any], work: dict[str, Any]) -> dict[str, int]:
    head_dim = columns["head_dim"]
    qk = (work["queries"] + work["recomputed"]) * work["keys"] * head_dim * work["qk_share"]
    pv = work["queries"] * work["values"] * head_dim * work["pv_share"]
    refetched = np.where(work["recomputed"] > 0, work["k_lsb_bits"], 0)
    total = (
        plane_bytes(work["queries"], head_dim, work["q_bits"])
        + plane_bytes(work["keys"], head_dim, work["k_bits"]) * work["qk_share"]
        + plane_bytes(work["keys"], head_dim, refetched)
        + plane_bytes(work["values_fetched"], head_dim, work["v_bits"]) * work["pv_share"]
    )
    return {
        "multiplications": round(float(qk.sum() + pv.sum())),
        "DRAM bytes": round(float(total.sum())),
    }


def _steps(
    columns: dict[str, Any], kinds: Collection[str], width_bits: int
) -> dict[str, dict[str, int]]:
    before = _amounts(columns, _climb(columns, (), width_bits))
    steps = {}
    climbed: list[str] = []
    for kind in kinds:
        climbed.append(kind)
        after = _amounts(columns, _climb(columns, climbed, width_bits))
        steps[kind] = {name: before[name] - after[name] for name in after}
        before = after
    return steps
