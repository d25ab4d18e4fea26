"""Greedy removal: again and again what the model misses least."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

from workloads.errors import InputError

Part = TypeVar("Part", bound=Hashable)


def greedy_removal(
    costs: Mapping[Part, int],
    keep_ratio: float,
    distance_without: Callable[[frozenset[Part]], float],
) -> list[Part]:
    """Return the parts to remove, in the order of removal.

    Each round removes the part whose removal, on top of those before, gives the smallest
    distance, the first of equals. It ends when the cost kept is at most `keep_ratio` of all, so
    what is kept falls short of the budget by less than one part.

    Args:
        costs: parameters of each part.
        keep_ratio: share of the parameters kept.
        distance_without: of the model without these parts from the whole.

    Raises:
        InputError: a distance is not finite.
    """
    removed: list[Part] = []
    kept, budget = sum(costs.values()), keep_ratio * sum(costs.values())
    while kept > budget + 1e-6:
        left = [part for part in costs if part not in removed]
        distances = [finite(distance_without(frozenset([*removed, part])), part) for part in left]
        best = left[distances.index(min(distances))]
        removed.append(best)
        kept -= costs[best]
    return removed


def finite(distance: float, part: object) -> float:
    """Return the distance or loss of the model without a part.

    Raises:
        InputError: it is not finite.
    """
    if not math.isfinite(distance):
        raise InputError(f"the distance without {part} must be finite, it is {distance}")
    return distance
