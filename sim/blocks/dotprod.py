"""Multiplier arrays: query times keys, and probabilities times values.

SpAtten (HPCA 2021), architecture section: one query is broadcast against the keys of an SRAM
line and an adder tree, cut where the head dimension says, gives several scores a cycle; the
second array weights value rows by probabilities and adds them up over the lines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from workloads.config import Config
from workloads.errors import InputError

IntArray = np.ndarray[Any, np.dtype[np.int64]]


class QueryKeyConfig(Config):
    """Array that multiplies a query with keys."""

    multipliers: int = Field(512, ge=8)
    """12-bit multipliers (paper: 512)"""
    max_scores_per_cycle: int = Field(8, ge=1)
    """outputs of the reconfigurable adder tree (paper: at most 8 items per cycle)"""
    width_bits: int = Field(12, ge=2, le=16)
    """bits of an operand on chip, signed (paper: 12)"""
    latency_cycles: int = Field(11, ge=0)
    """line read to score: SRAM 1, multiply 1, tree of 512 inputs 9 (authors' C++ model)"""

    def scores_per_cycle(self, head_dim: int) -> int:
        """Keys multiplied per cycle. Raises InputError when a head does not fit the array."""
        return min(self.max_scores_per_cycle, _rows_per_line(self.multipliers, head_dim))

    def cycles(self, keys: int, head_dim: int) -> int:
        """Cycles one query occupies the array."""
        return -(-keys // self.scores_per_cycle(head_dim))


class ProbValueConfig(Config):
    """Array that multiplies probabilities with values."""

    multipliers: int = Field(512, ge=8)
    """12-bit multipliers (paper: 512)"""
    width_bits: int = Field(12, ge=2, le=16)
    """bits of an operand on chip (paper: 12)"""
    latency_cycles: int = Field(3, ge=0)
    """line read to accumulated row: SRAM 1, multiply 1, add 1 (authors' C++ model)"""
    queue_elements: int = Field(512, ge=1)
    """probabilities that may wait for the array (released RTL: 64 beats of 8)"""

    def rows_per_cycle(self, head_dim: int) -> int:
        """Value rows weighted per cycle. Raises InputError when a head does not fit."""
        return _rows_per_line(self.multipliers, head_dim)

    def cycles(self, values: int, head_dim: int) -> int:
        """Cycles one query occupies the array."""
        return -(-values // self.rows_per_cycle(head_dim))


class ProbValueUnitConfig(Config):
    """Size of the array of probabilities times values in hardware."""

    multipliers: int = Field(512, ge=8)
    """multipliers, a power of 2 (paper: 512)"""
    width_bits: int = Field(12, ge=2, le=16)
    """bits of an operand (paper: 12)"""
    latency_cycles: int = Field(3, ge=0)
    """last line to sums: input register, multiply, add"""
    max_rows_per_cycle: int = Field(8, ge=1)
    """probabilities that enter together, a power of 2 (paper: 8)"""

    @property
    def sum_bits(self) -> int:
        """Bits of a sum, signed: of up to 1,024 rows it is exact, beyond them it may wrap."""
        return 2 * self.width_bits + 10


def query_key_golden(query: IntArray, keys: IntArray) -> IntArray:
    """Return exact integer scores, (queries, keys), of (queries, dim) times (keys, dim)."""
    scores: IntArray = np.asarray(query, np.int64) @ np.asarray(keys, np.int64).T
    return scores


def prob_value_golden(probabilities: IntArray, values: IntArray) -> IntArray:
    """Return exact integer outputs, (queries, dim), of (queries, keys) times (keys, dim)."""
    output: IntArray = np.asarray(probabilities, np.int64) @ np.asarray(values, np.int64)
    return output


def padded_head_dim(head_dim: int) -> int:
    """Channels a head occupies: the adder tree is cut at powers of 2."""
    return 1 << (head_dim - 1).bit_length()


def _rows_per_line(multipliers: int, head_dim: int) -> int:
    padded = padded_head_dim(head_dim)
    if padded > multipliers:
        raise InputError(
            f"head_dim must be at most {multipliers}, one row of the multiplier array, "
            f"not {head_dim}"
        )
    return multipliers // padded
