"""SpAtten at an eighth: the size that the paper compares with A3 and MNNFast.

128 multipliers in all and 64 GB/s (SpAtten, HPCA 2021, section V). The K and V SRAM keep their
bytes, as in the released configuration, and the top-k engines their 16 comparators.
"""

from __future__ import annotations

from typing import ClassVar

from sim.blocks.dotprod import ProbValueConfig, QueryKeyConfig
from sim.blocks.requant import RequantConfig
from sim.blocks.softmax import SoftmaxConfig
from sim.dram.spec import DramSpec
from sim.machines import eighth
from sim.machines.spatten import SpAtten


class SpAttenEighth(SpAtten):
    """An eighth of the paper's machine."""

    name: ClassVar[str] = "spatten-eighth"
    description: ClassVar[str] = (
        "SpAtten with 2 x 64 multipliers and 64 GB/s, the size compared with A3 and MNNFast"
    )

    dram: DramSpec = eighth.MEMORY
    """memory (paper: 64 GB/s)"""
    query_key: QueryKeyConfig = QueryKeyConfig(
        multipliers=eighth.MULTIPLIERS, max_scores_per_cycle=1, latency_cycles=8
    )
    """Q.K array; its tree of 64 inputs has 6 layers (released RTL: 8 cycles)"""
    prob_value: ProbValueConfig = ProbValueConfig(multipliers=eighth.MULTIPLIERS, queue_elements=64)
    """Prob.V array; 64 probabilities wait for it (released RTL: 64 beats of 1)"""
    softmax: SoftmaxConfig = eighth.SOFTMAX
    """softmax unit: one lane"""
    requant: RequantConfig = RequantConfig(fifo_rows=2048)
    """decision FIFO; as deep as the buffers have lines (released RTL)"""
