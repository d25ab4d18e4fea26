"""A3: approximate attention by a greedy search over sorted keys.

Ham et al., HPCA 2020, arXiv:2002.10941, at the size that SpAtten's paper compares with: 64
multipliers for scores and 64 for outputs, 64 GB/s. K, Q and V are fetched whole: the search needs
every key, so nothing is saved in DRAM.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from sim.blocks.softmax import SoftmaxConfig
from sim.dram.spec import DramSpec
from sim.machines import eighth
from sim.machines.base import COMMON_FIDELITY
from sim.machines.rows import RowMachine, array_cycles, key_share
from sim.operations import Operations

IntArray = np.ndarray[Any, np.dtype[np.int64]]


class A3(RowMachine):
    """The approximate A3."""

    name: ClassVar[str] = "a3"
    description: ClassVar[str] = (
        "A3 (HPCA 2020): greedy search over sorted keys, 2 x 64 multipliers, 64 GB/s"
    )

    dram: DramSpec = eighth.MEMORY
    """memory (compared at 64 GB/s)"""
    softmax: SoftmaxConfig = eighth.SOFTMAX
    """exponent unit: one score a cycle"""
    iteration_ratio: float = Field(0.5, gt=0, le=1)
    """search iterations per key (paper, conservative: M = n/2; aggressive: 0.125)"""
    candidate_ratio: float = Field(0.30, gt=0, le=1)
    """keys that the search finds, whose exact scores are computed; measured on MiniLM-L6, 12
    sentences: 0.30 (aggressive: 0.11)"""
    survivor_ratio: float = Field(0.20, gt=0, le=1)
    """keys left after the selection by score (paper, conservative: 5 % of the largest weight);
    measured likewise: 0.20 (aggressive, 10 %: 0.08)"""
    hide_sorting: bool = True
    """true: columns of K are sorted ahead of time, as the paper assumes; false: before the first
    query of a head, all columns side by side, in 2 n cycles (estimate: a merge sorter's fill and
    drain)"""

    @property
    def multipliers(self) -> int:
        return 2 * eighth.MULTIPLIERS

    @property
    def fidelity(self) -> tuple[str, ...]:
        return (
            "A comparator: rows of scores pass from search to exact scores, exponents and outputs, "
            "one query behind another. IdealRowBuffer: rows wait between them without a limit.",
            "How many keys the search finds is a setting, not computed from the trace, which does "
            f"not hold queries and keys: {self.candidate_ratio:.0%} candidates and "
            f"{self.survivor_ratio:.0%} survivors for {self.iteration_ratio:.3g} n iterations.",
            "Columns of K are sorted ahead of time at no cost."
            if self.hide_sorting
            else "Sorting delays the first query of each head by 2 n cycles, an estimate.",
            "Every operand is fetched whole and at full precision: pruning in the trace is not "
            "exploited.",
            "A score's latency is the softmax unit's of spatten; A3's own is not modelled.",
            *COMMON_FIDELITY,
        )

    def row_cycles(self, operations: Operations) -> dict[str, IntArray]:
        keys, values = self.computed(operations)
        wide = array_cycles(operations)
        return {
            "search": key_share(operations.keys, self.iteration_ratio),
            "Q.K": keys * wide,
            "softmax": keys,
            "Prob.V": values * wide,
        }

    def unit_latencies(self) -> tuple[int, ...]:
        unit = self.softmax
        exponents = unit.exp_latency_cycles + unit.sum_latency_cycles + unit.divide_latency_cycles
        return (1, 8, exponents, 3)

    def head_cycles(self, operations: Operations) -> IntArray:
        return operations.keys * (0 if self.hide_sorting else 2)

    def computed(self, operations: Operations) -> tuple[IntArray, IntArray]:
        return (
            key_share(operations.keys, self.candidate_ratio),
            key_share(operations.keys, self.survivor_ratio),
        )

    def extra_counts(self, operations: Operations) -> dict[str, IntArray]:
        ops = operations
        steps = ops.queries * key_share(ops.keys, self.iteration_ratio)
        survivors = ops.queries * key_share(ops.keys, self.survivor_ratio)
        return {"topk_compare": 2 * steps * ops.head_dim, "division": survivors}
