"""Which points are worth having: the Pareto front, the best of each objective, the knee."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sim.sweep.pareto import front

Array = np.ndarray[Any, Any]


def costs(rows: pd.DataFrame, objectives: Mapping[str, str]) -> Array:
    """Return (points, objectives) as numbers of which less is better."""
    signs = np.array([1.0 if way == "min" else -1.0 for way in objectives.values()])
    return rows[list(objectives)].to_numpy(float) * signs


def on_front(values: Array) -> Array:
    """Return which points no other point dominates; equal points are all on the front.

    Args:
        values: (points, objectives), less is better; a point with NaN is never on the front.
    """
    return front(values, ["min"] * values.shape[1])


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


def chosen(values: Array, count: int) -> list[int]:
    """Choose points of a front to show: the best of each objective, the knee, and an even
    spread along the first objective.

    Args:
        values: (points, objectives) of the front.
        count: how many at most.

    Returns:
        Places, by the first objective.
    """
    if not len(values):
        return []
    found = dict.fromkeys([*(best(values, i) for i in range(values.shape[1])), knee(values)])
    order = np.argsort(values[:, 0], kind="stable")
    for share in np.linspace(0, 1, count):
        if len(found) < count:
            found[int(order[round(share * (len(order) - 1))])] = None
    return sorted(list(found)[:count], key=lambda at: (values[at, 0], at))
