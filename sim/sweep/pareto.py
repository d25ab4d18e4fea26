"""Pareto fronts, ranks and the hypervolume of points, in plain numpy.

Points are rows, objectives are columns. A point dominates another if it is nowhere worse and
somewhere better; equal points do not dominate each other, so all of them are on the front. A
point with NaN is never on the front.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from workloads.errors import InputError

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

_BLOCK = 256  # points compared at once: bounds the memory


def front(values: Any, directions: Sequence[str]) -> BoolArray:
    """Return which points no other point dominates.

    Args:
        values: (points, objectives).
        directions: "min" or "max" of each objective.

    Raises:
        InputError: directions that do not fit.
    """
    costs = as_costs(values, directions)
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    mask = np.zeros(len(costs), np.bool_)
    if len(known):
        unique, places = np.unique(costs[known], axis=0, return_inverse=True)
        mask[known] = _front_of_sorted(unique)[places.reshape(-1)]
    return mask


def front_within(values: Any, directions: Sequence[str], groups: Sequence[Hashable]) -> BoolArray:
    """Return which points no other point of the same group dominates.

    Args:
        values, directions: as in `front`.
        groups: one a point.

    Raises:
        InputError: directions that do not fit, or not one group a point.
    """
    costs = as_costs(values, directions)
    mask = np.zeros(len(costs), np.bool_)
    for rows in rows_of(groups, len(costs)):
        mask[rows] = front(costs[rows], ["min"] * costs.shape[1])
    return mask


def rows_of(groups: Sequence[Hashable], count: int) -> list[IntArray]:
    """Return the places of the points of each group, in the order in which groups first come.

    Raises:
        InputError: not `count` of them, one a point.
    """
    if len(groups) != count:
        raise InputError(f"groups must be {count}, one a point, not {len(groups)}")
    found: dict[Hashable, list[int]] = {}
    for at, group in enumerate(groups):
        found.setdefault(group, []).append(at)
    return [np.array(rows, np.int64) for rows in found.values()]


def ranks(values: Any, directions: Sequence[str]) -> IntArray:
    """Return the rank of each point by non-dominated sorting: 0 is the front.

    The rank is the length of the longest chain of points that dominate one another and the point,
    which is what taking away front after front counts. Points with NaN come last, on a rank of
    their own. Arguments as in `front`.
    """
    costs = as_costs(values, directions)
    known = ~np.isnan(costs).any(axis=1)
    found = np.zeros(len(costs), np.int64)
    if known.any():
        unique, places = np.unique(costs[known], axis=0, return_inverse=True)
        found[known] = _ranks_of_sorted(unique)[places.reshape(-1)]
        found[~known] = found[known].max() + 1
    return found


def spread(costs: FloatArray, count: int) -> list[int]:
    """Return the order in which to look at points: rank by rank, far apart from one another.

    In a rank the best of each objective come first, then always the point farthest from all
    before it, also those of earlier ranks; distances are of logarithms where all costs of an
    objective are positive, each over its range.

    Args:
        costs: (points, objectives), less is better.
        count: so many are spread; those behind them stay in the order of their ranks.
    """
    places, of_rank = _normalised(costs), ranks(costs, ["min"] * costs.shape[1])
    order: list[int] = []
    nearest = np.full(len(costs), np.inf)
    for rank in range(int(of_rank.max(initial=-1)) + 1):
        left = np.flatnonzero(of_rank == rank)
        first = [int(left[np.argmin(column)]) for column in costs[left].T]
        for chosen in dict.fromkeys(first):
            order.append(chosen)
            nearest = np.minimum(nearest, _distances(places, chosen))
        left = left[~np.isin(left, first)]
        while len(left) and len(order) < count:
            at = int(np.argmax(nearest[left]))
            order.append(int(left[at]))
            nearest = np.minimum(nearest, _distances(places, order[-1]))
            left = np.delete(left, at)
        order += left.tolist()
    return order


def spread_within(costs: FloatArray, count: int, groups: Sequence[Hashable]) -> list[int]:
    """Return the order in which to look at points of groups: each in its own order, in turn.

    Args:
        costs, count: as in `spread`.
        groups: one a point.
    """
    orders = [
        [int(rows[at]) for at in spread(costs[rows], count)] for rows in rows_of(groups, len(costs))
    ]
    return [at for turn in zip_longest(*orders) for at in turn if at is not None]


def _distances(places: FloatArray, chosen: int) -> FloatArray:
    found: FloatArray = ((places - places[chosen]) ** 2).sum(axis=1)
    return found


def _normalised(costs: FloatArray) -> FloatArray:
    """Return costs within 0 to 1; what is not finite counts as the least."""
    places = np.zeros_like(costs)
    for column, values in zip(places.T, costs.T, strict=True):
        known = np.isfinite(values)
        if not known.any():
            continue
        scaled = np.log(values[known]) if (values[known] > 0).all() else values[known]
        column[known] = (scaled - scaled.min()) / (np.ptp(scaled) or 1.0)
    return places


def dominates(one: Any, other: Any) -> bool:
    """Tell whether costs, less is better, dominate others."""
    return bool(np.all(one <= other) and np.any(one < other))


def hypervolume(values: Any, directions: Sequence[str], reference: Sequence[float]) -> float:
    """Return the volume that points dominate, up to a reference point.

    Args:
        values: (points, objectives); those that do not dominate the reference count nothing.
        directions: "min" or "max" of each objective.
        reference: worst value of each objective.

    Raises:
        InputError: directions or reference that do not fit, or moocore is not installed.
    """
    try:
        import moocore
    except ImportError:
        raise InputError(
            "a hypervolume must have moocore, it is missing: pip install 'prunesim[dse]'"
        ) from None
    costs = as_costs(values, directions)
    worst = as_costs([list(reference)], directions)[0]
    costs = costs[~np.isnan(costs).any(axis=1)]
    costs = costs[(costs < worst).all(axis=1)]
    return float(moocore.hypervolume(costs, ref=worst)) if len(costs) else 0.0


def as_costs(values: Any, directions: Sequence[str]) -> FloatArray:
    """Return (points, objectives) of which less is better.

    Raises:
        InputError: not one direction a column, or one that is neither "min" nor "max".
    """
    found: FloatArray = np.asarray(values, np.float64)
    if found.ndim != 2 or found.shape[1] != len(directions) or not len(directions):
        raise InputError(
            f"values must be (points, {len(directions)}), one column a direction, not {found.shape}"
        )
    for direction in directions:
        if direction not in ("min", "max"):
            raise InputError(f"a direction must be min or max, not {direction!r}")
    signs = np.array([1.0 if direction == "min" else -1.0 for direction in directions])
    costs: FloatArray = found * signs + 0.0  # 0.0: no negative zero, which would sort apart
    return costs


def _front_of_sorted(costs: FloatArray) -> BoolArray:
    """Return the front of different points in lexicographic order: only earlier ones dominate."""
    if costs.shape[1] == 1:
        return np.arange(len(costs)) < 1
    if costs.shape[1] == 2:
        best = np.minimum.accumulate(costs[:, 1])
        ahead: BoolArray = np.append(True, costs[1:, 1] < best[:-1])
        return ahead
    mask = np.zeros(len(costs), np.bool_)
    kept = costs[:0]
    for start in range(0, len(costs), _BLOCK):
        block = costs[start : start + _BLOCK]
        alive = np.flatnonzero(~_covered(block, kept))
        inside = np.tril(_at_most(block[alive], block[alive]), -1)
        alive = alive[~inside.any(axis=1)]
        mask[start + alive] = True
        kept = np.concatenate([kept, block[alive]])
    return mask


def _covered(points: FloatArray, others: FloatArray) -> BoolArray:
    """Tell of each point whether one of the others is nowhere worse."""
    found: BoolArray = _at_most(points, others).any(axis=1)
    return found


def _at_most(points: FloatArray, others: FloatArray) -> Any:
    """Return (points, others): whether the other is nowhere worse; by columns, to save memory."""
    found = np.ones((len(points), len(others)), np.bool_)
    for column in range(points.shape[1]):
        found &= others[None, :, column] <= points[:, column, None]
    return found


def _ranks_of_sorted(costs: FloatArray) -> IntArray:
    """Return the ranks of different points in lexicographic order."""
    found = np.zeros(len(costs), np.int64)
    columns = np.ascontiguousarray(costs.T)
    for i in range(1, len(costs)):
        better = columns[0, :i] <= columns[0, i]
        for column in columns[1:]:
            better &= column[:i] <= column[i]
        if better.any():
            found[i] = found[:i][better].max() + 1
    return found
