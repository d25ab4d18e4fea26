"""From keys on chip to outputs: the attention of one head after another, as a core runs it.

SpAtten (HPCA 2021), modules 6 to 11: Q.K array, softmax, progressive-quantisation decision,
local-value top-k, Prob.V array, between double-buffered K, V and Q. Queries follow each other in
the pipeline, also from head to head; a query that is selected for or that may be recomputed waits
until the one before has been.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from sim.blocks.dotprod import ProbValueUnitConfig, QueryKeyConfig
from sim.blocks.line_buffer import LineBufferConfig
from sim.blocks.requant import RequantUnitConfig
from sim.blocks.softmax import SoftmaxUnitConfig
from sim.blocks.topk import TopKConfig
from workloads.config import Config


class HeadPipelineConfig(Config):
    """Size of the pipeline; two arrays of rows x channels multipliers."""

    channels: int = Field(64, ge=2, le=1024)
    """head dimension, a power of 2 (paper: 64); smaller heads fill up with zeros"""
    rows: int = Field(8, ge=1, le=64)
    """keys multiplied per cycle, a power of 2 (paper: 512 multipliers / 64)"""
    tokens: int = Field(1024, ge=1)
    """longest head, a multiple of rows and of topk_lanes (paper: 1,024)"""
    topk_lanes: int = Field(16, ge=1, le=1024)
    """comparators of local value pruning, a power of 2, at least `rows` (paper: 16)"""
    width_bits: int = Field(12, ge=4, le=16)
    """bits of operands and probabilities on chip (paper: 12)"""
    lsb_bits: int = Field(4, ge=1)
    """low bits of K that are fetched on demand (paper: 4)"""
    results: int = Field(16, ge=1, le=256)
    """queries that may be under way, and outputs that may wait"""

    @model_validator(mode="after")
    def _sizes_agree(self) -> HeadPipelineConfig:
        for name in ("channels", "rows", "topk_lanes"):
            value = getattr(self, name)
            if value & (value - 1):
                raise ValueError(f"HeadPipeline {name} must be a power of 2, not {value}")
        if self.rows * self.channels < 8:
            raise ValueError(
                f"HeadPipeline channels x rows must be at least 8, not {self.channels * self.rows}"
            )
        if self.topk_lanes < self.rows:
            raise ValueError(
                f"HeadPipeline topk_lanes must be at least rows, {self.rows}, not {self.topk_lanes}"
            )
        if self.tokens % self.topk_lanes:
            raise ValueError(
                f"HeadPipeline tokens must be a multiple of topk_lanes, {self.topk_lanes}, "
                f"not {self.tokens}"
            )
        if self.lsb_bits >= self.width_bits:
            raise ValueError(
                f"HeadPipeline lsb_bits must be below width_bits, {self.width_bits}, "
                f"not {self.lsb_bits}"
            )
        return self

    @property
    def multipliers(self) -> int:
        """Of each array."""
        return self.channels * self.rows

    @property
    def lines(self) -> int:
        """Lines of a buffer's half."""
        return self.tokens // self.rows

    @property
    def score_bits(self) -> int:
        """Bits of an exact score, at most the 32 that the softmax takes."""
        return 2 * self.width_bits + (self.channels - 1).bit_length()

    @property
    def buffer(self) -> LineBufferConfig:
        """Of Q, K and V."""
        return LineBufferConfig(
            lines=self.lines,
            rows=self.rows,
            channels=self.channels,
            width_bits=self.width_bits,
            lsb_bits=self.lsb_bits,
        )

    @property
    def query_key(self) -> QueryKeyConfig:
        return QueryKeyConfig(
            multipliers=self.multipliers,
            max_scores_per_cycle=self.rows,
            width_bits=self.width_bits,
            latency_cycles=2 + (self.multipliers - 1).bit_length(),
        )

    @property
    def softmax(self) -> SoftmaxUnitConfig:
        return SoftmaxUnitConfig(
            lanes=self.rows,
            fifo_rows=self.lines,
            prob_bits=self.width_bits,
            score_bits=self.score_bits,
        )

    @property
    def requant(self) -> RequantUnitConfig:
        return RequantUnitConfig(lanes=self.rows, fifo_rows=self.lines, width_bits=self.width_bits)

    @property
    def topk(self) -> TopKConfig:
        return TopKConfig(lanes=self.topk_lanes, depth=self.tokens, width_bits=self.width_bits)

    @property
    def prob_value(self) -> ProbValueUnitConfig:
        return ProbValueUnitConfig(
            multipliers=self.multipliers,
            width_bits=self.width_bits,
            latency_cycles=3,
            max_rows_per_cycle=self.rows,
        )
