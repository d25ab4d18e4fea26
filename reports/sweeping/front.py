"""Which points are worth having: the Pareto front, the best of each objective, the knee."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from sim.sweep.pareto import front, front_within, rows_of

Array = np.ndarray[Any, Any]


def costs(rows: pd.DataFrame, objectives: Mapping[str, str]) -> Array:
    """Return (points, objectives) as numbers of which less is better."""
    signs = np.array([1.0 if way == "min" else -1.0 for way in objectives.values()])
    return rows[list(objectives)].to_numpy(float) * signs


def on_front(values: Array, groups: Sequence[Hashable] | None = None) -> Array:
    """Return which points no other point dominates; equal points are all on the front.

    Args:
        values: (points, objectives), less is better; a point with NaN is never on the front.
        groups: one a point; points are compared within them. None: all with all.
    """
    ways = ["min"] * values.shape[1]
    return front(values, ways) if groups is None else front_within(values, ways, groups)


def staircase(values: Array) -> list[int]:
    """Return the places of points that no other beats in two columns, by the first.

    Args:
        values: (points, 2), less is better.
    """
    places = np.flatnonzero(on_front(values))
    return [int(at) for at in places[np.lexsort(values[places].T[::-1])]]


def dominated(values: Array, others: Array) -> Array:
    """Return which rows of `values` a row of `others` dominates: nowhere worse, once better."""
    no_worse = (others[None] <= values[:, None]).all(axis=2)
    better = (others[None] < values[:, None]).any(axis=2)
    return np.asarray((no_worse & better).any(axis=1))


def distances(values: Array) -> Array:
    """Return how far each point is from the best of every objective, each scaled to 0 to 1."""
    low, high = values.min(axis=0), values.max(axis=0)
    return np.asarray(np.linalg.norm((values - low) / np.where(high > low, high - low, 1), axis=1))


def knee(values: Array) -> int:
    """Return the place of the point that is nearest to the best of every objective at once."""
    return int(distances(values).argmin())


def best(values: Array, objective: int) -> int:
    """Return the place of the point that is best in one objective; of equal ones the nearest
    to the best of the others."""
    ties = np.flatnonzero(values[:, objective] == values[:, objective].min())
    return int(ties[distances(values)[ties].argmin()])


def chosen(values: Array, count: int, groups: Sequence[int] | None = None) -> list[int]:
    """Choose points of a front to show: the knee, the best of each objective, and an even
    spread along the first objective; of groups in turn, of an even spread if they are too many.

    Args:
        values: (points, objectives) of the front, or of the fronts.
        count: how many at most.
        groups: place of each point's group among all.

    Returns:
        Places, by group and by the first objective.
    """
    own = np.zeros(len(values), int) if groups is None else np.asarray(groups)
    rows = sorted(rows_of(own.tolist(), len(values)), key=lambda found: int(own[found[0]]))
    if len(rows) > count:
        rows = [rows[round(share * (len(rows) - 1))] for share in np.linspace(0, 1, count)]
    ways = [[int(found[at]) for at in _telling(values[found], count)] for found in rows]
    turns = [at for turn in zip_longest(*ways) for at in turn if at is not None]
    return sorted(turns[:count], key=lambda at: (int(own[at]), values[at, 0], at))


def _telling(values: Array, count: int) -> list[int]:
    """Return at most `count` places of one front, what tells most first."""
    found = dict.fromkeys([knee(values), *(best(values, i) for i in range(values.shape[1]))])
    order = np.argsort(values[:, 0], kind="stable")
    for share in np.linspace(0, 1, count):
        if len(found) < count:
            found[int(order[round(share * (len(order) - 1))])] = None
    return list(found)[:count]
