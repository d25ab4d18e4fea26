"""Top-k operations of a trace, timed on a machine's engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from sim.blocks.topk import SelectionTiming, TopKConfig, filter_cycles, selection_timing
from sim.once import once
from sim.operations import Operations
from workloads.errors import InputError
from workloads.trace import Ragged, Trace

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


Scope = Literal["query", "head", "pair"]
"""Who selects V rows: every query, the first query of a head, or of two consecutive heads."""


@dataclass(frozen=True)
class Selections:
    """Selections of one engine and to whom they belong."""

    timing: SelectionTiming
    owner: IntArray  # (groups,) operation, or group of operations, that waits for it
    operations: IntArray
    n: IntArray
    data: str  # recorded, drawn, or none
    heads: BoolArray  # true: heads are selected, in cascade pruning

    def streamed(self, owners: int) -> IntArray:
        """Return (owners,) elements that went through the comparators, filter included."""
        total = np.zeros(owners, np.int64)
        np.add.at(total, self.owner, self.timing.streamed + self.operations * self.n)
        return total


class Groups(NamedTuple):
    """Selections that a trace asks for, whatever engine performs them; (groups,) each."""

    owner: IntArray
    operations: IntArray
    n: IntArray
    k: IntArray
    scores: Ragged
    heads: BoolArray


def value_selections(
    trace: Trace, operations: Operations, config: TopKConfig, seed: int, scope: Scope = "query"
) -> Selections:
    """Time the local-value selections of the heads that drop values.

    Recorded scores are used where the machine computes the queries that the trace has.

    Args:
        trace: where selections may be recorded.
        operations: the heads; owners of the selections are their numbers.
        config: the engine.
        seed: of ranks drawn where none are recorded.
        scope: who selects.

    Raises:
        InputError: a recorded selection that contradicts the head it belongs to.
    """
    return _timed(config, _value_groups(trace, operations, scope), seed)


@once(kept=8)
def _value_groups(trace: Trace, operations: Operations, scope: Scope) -> Groups:
    ops = operations
    needs = np.flatnonzero(ops.values < ops.keys)
    if scope == "pair":
        needs = needs[_position_in_layer(ops)[needs] % 2 == 0]
    recorded = _recorded(trace, "value")
    index: dict[tuple[int, ...], int] = {
        key: row for row, key in enumerate(_keys(trace, recorded, with_head=True))
    }
    names = (ops.sequence, ops.step, ops.layer, ops.head)
    rows = [index.get(key, -1) for key in zip(*(a[needs].tolist() for a in names), strict=True)]
    picked = np.array(rows, np.int64)
    same_queries = trace.array("attention", "queries")[ops.rows[needs]] == ops.queries[needs]
    known = (picked >= 0) & same_queries
    scores = trace.ragged("topk", "scores")
    for column, expected in (("operations", ops.queries), ("n", ops.keys), ("k", ops.values)):
        found = trace.array("topk", column)[recorded[picked[known]]]
        wrong = found != expected[needs[known]]
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InputError(
                f"topk.parquet row {recorded[picked[known]][at]}: {column} of a value selection "
                f"must be {expected[needs[known]][at]} as its head has it, not {found[at]}"
            )
    source = np.where(known, recorded[picked], 0) if len(recorded) else np.zeros_like(picked)
    selecting = ops.queries[needs] if scope == "query" else np.ones(len(needs), np.int64)
    return Groups(
        owner=needs,
        operations=selecting,
        n=ops.keys[needs],
        k=ops.values[needs],
        scores=scores.take(source, known),
        heads=np.zeros(len(needs), np.bool_),
    )


def cascade_selections(
    trace: Trace, operations: Operations, config: TopKConfig, seed: int
) -> Selections:
    """Time the token and head selections at the end of layers; owners are layer groups."""
    return _timed(config, _cascade_groups(trace, operations), seed)


@once(kept=8)
def _cascade_groups(trace: Trace, operations: Operations) -> Groups:
    ops = operations
    rows = np.concatenate([_recorded(trace, "token"), _recorded(trace, "head")])
    names = (ops.sequence.tolist(), ops.step.tolist(), ops.layer.tolist())
    group_of: dict[tuple[int, ...], int] = dict(
        zip(zip(*names, strict=True), ops.group.tolist(), strict=True)
    )
    owners = [group_of.get(key, -1) for key in _keys(trace, rows, with_head=False)]
    used = rows[np.array(owners, np.int64) >= 0]
    owner = np.array([group for group in owners if group >= 0], np.int64)
    count, n, k = (
        trace.array("topk", name)[used].astype(np.int64) for name in ("operations", "n", "k")
    )
    return Groups(
        owner=owner,
        operations=count,
        n=n,
        k=k,
        scores=trace.ragged("topk", "scores").take(used, np.True_),
        heads=trace.array("topk", "kind")[used] == "head",
    )


def cascade_cycles(
    selections: Selections, config: TopKConfig, groups: int
) -> tuple[IntArray, IntArray]:
    """Return (groups,) cycles of each layer's selection of tokens, and of heads."""
    cycles = np.zeros((2, groups), np.int64)
    passes = np.add.reduceat(
        np.append(selections.timing.cycles, 0), selections.timing.starts[:-1]
    ) if len(selections.owner) else np.zeros(0, np.int64)  # fmt: skip
    active = selections.timing.passes > 0
    last = filter_cycles(config, selections.n)
    spent = np.where(active, passes + selections.operations * last, 0)
    np.add.at(cycles, (selections.heads.astype(np.int64), selections.owner), spent)
    return cycles[0], cycles[1]


def _timed(config: TopKConfig, groups: Groups, seed: int) -> Selections:
    timing = selection_timing(config, groups.operations, groups.n, groups.k, groups.scores, seed)
    data = "none"
    if len(groups.owner):
        data = "recorded" if groups.scores.given.all() else "drawn"
    return Selections(timing, groups.owner, groups.operations, groups.n, data, groups.heads)


def _position_in_layer(operations: Operations) -> IntArray:
    """Return (operations,) the place of each head among those that run in its layer."""
    group = operations.group
    place: IntArray = np.arange(len(group)) - np.searchsorted(group, group)
    return place


def _recorded(trace: Trace, kind: str) -> IntArray:
    rows: IntArray = np.flatnonzero(trace.array("topk", "kind") == kind)
    return rows


def _keys(trace: Trace, rows: IntArray, with_head: bool) -> list[tuple[int, ...]]:
    names = ["sequence", "step", "layer"] + (["head"] if with_head else [])
    columns = [trace.array("topk", name)[rows].tolist() for name in names]
    return list(zip(*columns, strict=True))
