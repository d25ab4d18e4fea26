"""Softmax: exponentials of a row, their sum, one division, probabilities in fixed point.

Timing follows SpAtten: 8 lanes of floating-point units whose latencies are those of the
authors' C++ model. The golden function is the fixed-point design that stands for them in
hardware; it subtracts the row's maximum first, which leaves softmax unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from workloads.config import Config

IntArray = np.ndarray[Any, np.dtype[np.int64]]

FRACTION_BITS = 12
"""fraction bits of the base-2 exponent"""
MULTIPLIER_BITS = 31
"""bits of the multiplier in hardware; with scores of 32 bits a product stays below 2**63"""
MULTIPLIER_FRACTION_BITS = FRACTION_BITS + 16
"""fraction bits of the multiplier: of its product with a score, 16 are dropped"""
TABLE_BITS = 5
"""leading fraction bits that index the table; the rest interpolate"""
EXP_BITS = 15
"""fraction bits of an exponential: 2**0 is 1 << 15"""
DIVIDE_BITS = 28
"""fraction bits of the reciprocal of the sum"""
EXP_TABLE: IntArray = np.round(
    2.0 ** (EXP_BITS - np.arange((1 << TABLE_BITS) + 1) / (1 << TABLE_BITS))
).astype(np.int64)
"""2**-x in steps of 2**-EXP_BITS, for x from 0 to 1 in steps of 2**-TABLE_BITS"""


class SoftmaxConfig(Config):
    """Lanes, row storage and pipeline latencies of the softmax unit."""

    lanes: int = Field(8, ge=1)
    """elements per cycle (paper: 8)"""
    fifo_rows: int = Field(128, ge=1)
    """depth of the FIFO that holds a row until its sum is known, in rows of `lanes` (paper)"""
    prob_bits: int = Field(12, ge=2, le=16)
    """bits of a probability, unsigned (paper: 12)"""
    exp_latency_cycles: int = Field(28, ge=0)
    """dequantise 7 and exponential 21 (authors' C++ model)"""
    sum_latency_cycles: int = Field(23, ge=0)
    """accumulate (authors' C++ model)"""
    divide_latency_cycles: int = Field(36, ge=0)
    """divide 29 and quantise 7 (authors' C++ model)"""

    @property
    def fifo_elements(self) -> int:
        return self.fifo_rows * self.lanes

    def cycles(self, n: int) -> int:
        """Cycles a row of n elements occupies the lanes."""
        return -(-n // self.lanes)


class SoftmaxUnitConfig(Config):
    """Size of the fixed-point unit in hardware; its latency follows from it."""

    lanes: int = Field(8, ge=1)
    """elements per cycle (paper: 8)"""
    fifo_rows: int = Field(128, ge=1)
    """longest row, in beats of `lanes` (paper: 128)"""
    prob_bits: int = Field(12, ge=2, le=16)
    """bits of a probability, unsigned (paper: 12)"""
    score_bits: int = Field(32, ge=2, le=32)
    """bits of a score, signed"""

    @property
    def fifo_elements(self) -> int:
        return self.fifo_rows * self.lanes

    @property
    def score_depth(self) -> int:
        """Beats of scores: a row, and what comes until its maximum is known."""
        return self.fifo_rows + 2

    @property
    def exponential_depth(self) -> int:
        """Beats of exponentials: a row, and what comes until its sum is inverted."""
        return self.fifo_rows + self.prob_bits + 22

    def cycles(self, n: int) -> int:
        """Cycles a row of n elements occupies the lanes."""
        return -(-n // self.lanes)


def exponent_multiplier(score_scale: float) -> int:
    """Return the fixed-point factor that turns score differences into base-2 exponents.

    Args:
        score_scale: real value of one integer score step (quantiser scales over sqrt(head_dim)).
    """
    return round(score_scale * math.log2(math.e) * (1 << MULTIPLIER_FRACTION_BITS))


def softmax_golden(
    config: SoftmaxConfig | SoftmaxUnitConfig, scores: IntArray, multiplier: int
) -> IntArray:
    """Return fixed-point probabilities, (rows, n) unsigned integers of `prob_bits`.

    Every probability is within 1.5 steps of 2**-prob_bits of the float64 softmax for rows of up
    to 1,024 scores (tested); the exponential's relative error is below 2**-13.

    Args:
        config: the unit.
        scores: (rows, n) integer scores, |score| < 2**31.
        multiplier: from `exponent_multiplier`.
    """
    scores = np.asarray(scores, np.int64)
    below_max = scores.max(axis=-1, keepdims=True) - scores
    exponent = (below_max * multiplier) >> 16
    whole = np.minimum(exponent >> FRACTION_BITS, 62)
    fraction = exponent & ((1 << FRACTION_BITS) - 1)
    rest_bits = FRACTION_BITS - TABLE_BITS
    index, rest = fraction >> rest_bits, fraction & ((1 << rest_bits) - 1)
    step = EXP_TABLE[index] - EXP_TABLE[index + 1]
    exponential = (EXP_TABLE[index] - ((step * rest) >> rest_bits)) >> whole
    total = exponential.sum(axis=-1, keepdims=True)
    reciprocal = (((1 << config.prob_bits) - 1) << DIVIDE_BITS) // total
    probabilities: IntArray = (exponential * reciprocal + (1 << (DIVIDE_BITS - 1))) >> DIVIDE_BITS
    return probabilities
