"""Median and spread of measured windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workloads.errors import InputError


@dataclass(frozen=True)
class Spread:
    """Of the times of one call in each window."""

    median_ns: float
    p10_ns: float
    p90_ns: float
    windows: int


def spread(times_ns: Sequence[float]) -> Spread:
    """Return median, 10th and 90th percentile, between neighbours by line.

    Raises:
        InputError: no times, or one that is no positive number.
    """
    if not times_ns or not all(math.isfinite(time) and time > 0 for time in times_ns):
        raise InputError(f"times must be positive numbers, they are {list(times_ns)}")
    ordered = sorted(times_ns)
    low, middle, high = (_quantile(ordered, share) for share in (0.1, 0.5, 0.9))
    return Spread(middle, low, high, len(ordered))


def _quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])
