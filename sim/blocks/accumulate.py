"""Importance accumulators of tokens and heads (SpAtten, algorithm 1 and modules 1 and 12).

They run beside the main pipeline, one addition per probability or output element, and cost
events (energy) but no time: the paper states that they are in parallel with the critical path.
"""

from __future__ import annotations

from typing import Any

import numpy as np

IntArray = np.ndarray[Any, np.dtype[np.int64]]


def token_importance_golden(importance: IntArray, probabilities: IntArray) -> IntArray:
    """Add the probabilities that each key received.

    Args:
        importance: (keys,) accumulated so far.
        probabilities: (queries, keys) unsigned integers of one head.
    """
    total: IntArray = np.asarray(importance, np.int64) + np.asarray(probabilities, np.int64).sum(0)
    return total


def head_importance_golden(importance: int, output: IntArray) -> int:
    """Add the magnitudes of one head's output, (queries, head_dim)."""
    return int(importance + np.abs(np.asarray(output, np.int64)).sum())
