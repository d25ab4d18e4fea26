"""SpAtten's core: heads from memory to outputs, through fetcher, converter and head pipeline."""

from __future__ import annotations

from pydantic import Field, model_validator

from sim.blocks.cascade import CascadeConfig
from sim.blocks.converter import FULL, ConverterConfig
from sim.blocks.fetcher import FetcherConfig
from sim.blocks.head_pipeline import HeadPipelineConfig


class CoreConfig(HeadPipelineConfig):
    """Size of a core: those of the head pipeline, the path from memory, the cascade controller."""

    memory_channels: int = Field(16, ge=1, le=64)
    """memory channels, a power of 2 (paper: 16)"""
    transaction_bits: int = Field(256, ge=8, le=1024)
    """bits of one transaction (released RTL: 32 B)"""
    queue_depth: int = Field(64, ge=1, le=256)
    """transactions that may be under way on a channel (paper: FIFOs of 64)"""
    beats: int = Field(32, ge=1, le=64)
    """beats of `topk_lanes` rows that may be under way"""
    address_bits: int = Field(32, ge=4, le=48)
    """bits of an address in transactions"""
    heads: int = Field(16, ge=1, le=256)
    """heads of a layer, whose importance is kept (GPT-2 Medium, BERT-Large: 16)"""
    importance_bits: int = Field(32, ge=1, le=47)
    """bits of the importance of a token or a head"""

    @model_validator(mode="after")
    def _channels_interleave(self) -> CoreConfig:
        if self.memory_channels & (self.memory_channels - 1):
            raise ValueError(
                f"Core memory_channels must be a power of 2, not {self.memory_channels}"
            )
        return self

    @property
    def cascade(self) -> CascadeConfig:
        return CascadeConfig(
            lanes=self.topk_lanes,
            rows=self.rows,
            channels=self.channels,
            tokens=self.tokens,
            heads=self.heads,
            prob_bits=self.width_bits,
            value_bits=self.prob_value.sum_bits,
            importance_bits=self.importance_bits,
        )

    @property
    def converter(self) -> ConverterConfig:
        return ConverterConfig(
            rows=self.rows,
            channels=self.channels,
            width_bits=self.width_bits,
            lsb_bits=self.lsb_bits,
        )

    @property
    def fetcher(self) -> FetcherConfig:
        return FetcherConfig(
            lanes=self.topk_lanes,
            channels=self.memory_channels,
            transaction_bits=self.transaction_bits,
            row_transactions=self.row_transactions(FULL),
            queue_depth=self.queue_depth,
            beats=self.beats,
            address_bits=self.address_bits,
        )

    def row_transactions(self, plane: int) -> int:
        """Transactions of a row; rows begin at a transaction of their own.

        Args:
            plane: `converter.FULL`, `MSB` or `LSB`.
        """
        return -(-self.channels * self.converter.stored_bits(plane) // self.transaction_bits)
