"""Progressive-quantisation decision: fetch the LSBs when no probability stands out.

SpAtten (HPCA 2021), progressive quantisation: a flat distribution is sensitive to quantisation
error, so a query whose largest probability is below a threshold is recomputed once with LSBs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from workloads.config import Config

IntArray = np.ndarray[Any, np.dtype[np.int64]]


class RequantConfig(Config):
    """Maximum tree and comparison behind the softmax."""

    fifo_rows: int = Field(256, ge=1)
    """depth of the FIFO that holds a row until its maximum is known (released RTL: 256)"""
    latency_cycles: int = Field(1, ge=0)
    """last probability to decision (authors' C++ model)"""


class RequantUnitConfig(Config):
    """Size of the decision in hardware; it is taken 1 cycle after a row's last beat."""

    lanes: int = Field(8, ge=1)
    """probabilities per cycle (paper: the softmax unit's 8)"""
    fifo_rows: int = Field(256, ge=1)
    """longest row, in beats of `lanes` (released RTL: 256)"""
    width_bits: int = Field(12, ge=1, le=32)
    """bits of a probability, unsigned (paper: 12)"""

    @property
    def store_depth(self) -> int:
        """Beats stored: a row, and what comes until its decision was taken."""
        return self.fifo_rows + 2


def requant_golden(probabilities: IntArray, threshold: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell for each row whether it must be recomputed: its maximum is below the threshold.

    Args:
        probabilities: (rows, n) unsigned integers.
        threshold: in the same steps: `round(0.1 * (2**bits - 1))` for a threshold of 0.1.
    """
    flat: np.ndarray[Any, np.dtype[np.bool_]] = np.asarray(probabilities).max(axis=-1) < threshold
    return flat
