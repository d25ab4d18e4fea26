"""MNNFast: dense scores, small probabilities skip their value rows.

Jang et al., MnnFast, ISCA 2019, at the size that SpAtten's paper compares with: 128 multipliers and
64 GB/s at 1 GHz. The division of softmax is put off to the output, so that scores stream through.
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


class MnnFast(RowMachine):
    """MnnFast at the compared size."""

    name: ClassVar[str] = "mnnfast"
    description: ClassVar[str] = (
        "MnnFast (ISCA 2019): skips values of small probabilities, 2 x 64 multipliers, 64 GB/s"
    )

    dram: DramSpec = eighth.MEMORY
    """memory (compared at 64 GB/s)"""
    softmax: SoftmaxConfig = eighth.SOFTMAX
    """exponent unit: one score a cycle"""
    value_ratio: float = Field(0.08, gt=0, le=1)
    """value rows that are multiplied: probabilities of at least 0.1; measured on MiniLM-L6, 12
    sentences: 0.08 (at least 0.01: 0.55)"""

    @property
    def multipliers(self) -> int:
        return 2 * eighth.MULTIPLIERS

    @property
    def fidelity(self) -> tuple[str, ...]:
        return (
            "A comparator: rows of scores pass from Q.K to exponents and outputs, one query behind "
            "another; one division per output channel. IdealRowBuffer: rows wait between them "
            "without a limit.",
            f"How many value rows are multiplied is a setting ({self.value_ratio:.0%}), not "
            "computed from the trace. Skipped rows are fetched all the same.",
            "Every operand is fetched whole and at full precision: pruning in the trace is not "
            "exploited.",
            "The published machine is an FPGA design, projected to 1 GHz by SpAtten's authors.",
            *COMMON_FIDELITY,
        )

    def row_cycles(self, operations: Operations) -> dict[str, IntArray]:
        keys, values = self.computed(operations)
        wide = array_cycles(operations)
        return {"Q.K": keys * wide, "softmax": keys, "Prob.V": values * wide}

    def unit_latencies(self) -> tuple[int, ...]:
        unit = self.softmax
        return (8, unit.exp_latency_cycles, unit.divide_latency_cycles + 3)

    def computed(self, operations: Operations) -> tuple[IntArray, IntArray]:
        return operations.keys, key_share(operations.keys, self.value_ratio)

    def extra_counts(self, operations: Operations) -> dict[str, IntArray]:
        ops = operations
        return {
            "requant_compare": ops.queries * ops.keys,  # with the threshold
            "division": ops.queries * ops.head_dim,
        }
