"""Importance accumulators of tokens and heads (SpAtten, algorithm 1 and modules 1 and 12).

They run beside the main pipeline, one addition per probability or output element, and cost
events (energy) but no time: the paper states that they are in parallel with the critical path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from workloads.config import Config

IntArray = np.ndarray[Any, np.dtype[np.int64]]

CLEAR, DUMP, LOAD = range(3)
"""Commands to the accumulators of tokens: all sums become zero, leave, or a row is replaced."""


class ImportanceConfig(Config):
    """Accumulators of token importance."""

    lanes: int = Field(8, ge=1, le=1024)
    """probabilities that enter together (paper: 8 a cycle leave the softmax)"""
    tokens: int = Field(1024, ge=1)
    """sums that are held (paper: context of 1,024)"""
    prob_bits: int = Field(12, ge=1, le=32)
    """bits of a probability, unsigned"""
    sum_bits: int = Field(32, ge=1, le=62)
    """bits of a sum, unsigned, saturating: 32 hold 1,024 queries of 16 heads of 24 layers"""


class HeadImportanceConfig(Config):
    """Accumulator of one head's importance."""

    lanes: int = Field(8, ge=1, le=1024)
    """output elements that enter together"""
    value_bits: int = Field(34, ge=2, le=62)
    """bits of an output element, signed (34: sums that leave the second multiplier array)"""
    sum_bits: int = Field(48, ge=1, le=62)
    """bits of the sum, unsigned, saturating"""

    @property
    def latency_cycles(self) -> int:
        """Registers between a head's last row and its sum: magnitudes, adder tree, sum."""
        return 2 + (self.lanes - 1).bit_length()


def token_importance_golden(
    importance: IntArray, probabilities: IntArray, sum_bits: int | None = None
) -> IntArray:
    """Add the probabilities that each key received.

    Args:
        importance: (keys,) accumulated so far.
        probabilities: (queries, keys) unsigned integers of one head.
        sum_bits: sums stay at 2^sum_bits - 1 once they reach it; None: they have no bound.
    """
    total: IntArray = np.asarray(importance, np.int64) + np.asarray(probabilities, np.int64).sum(0)
    return total if sum_bits is None else np.minimum(total, (1 << sum_bits) - 1)


def head_importance_golden(importance: int, output: IntArray, sum_bits: int | None = None) -> int:
    """Add the magnitudes of one head's output, (queries, head_dim); `sum_bits` as for tokens."""
    total = int(importance + np.abs(np.asarray(output, np.int64)).sum())
    return total if sum_bits is None else min(total, (1 << sum_bits) - 1)
