"""Operands of the multiplier arrays' benches: random ones, with extremes among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def draw(random: np.random.Generator, shape: Sequence[int], low: int, high: int) -> Any:
    """Return integers from low to high, both included; a part of the calls gives bounds only."""
    if random.random() < 0.3:
        return random.choice([low, high], shape)
    return random.integers(low, high + 1, shape)


def into_segments(rows: Any, segment: int, lanes: int) -> Any:
    """Return the lanes of a line whose segments start with these rows; the rest is zero.

    Args:
        rows: (rows, channels), channels at most a segment.
        segment: lanes of a row.
        lanes: of the line.
    """
    line = np.zeros((lanes // segment, segment), np.int64)
    line[: len(rows), : rows.shape[1]] = rows
    return line.ravel()
