"""Key and value SRAM: two halves, one fills from DRAM while the other feeds an array."""

from __future__ import annotations

from pydantic import Field

from sim.blocks.dotprod import padded_head_dim
from workloads.config import Config
from workloads.errors import InputError


class BufferConfig(Config):
    """One double-buffered SRAM."""

    rows: int = Field(1024, ge=1)
    """rows of `row_channels` in one half (paper: 1024)"""
    row_channels: int = Field(64, ge=1)
    """channels of a row (paper: 64)"""
    width_bits: int = Field(12, ge=1)
    """bits of a channel on chip (paper: 12)"""
    halves: int = Field(2, ge=1)
    """buffers that take turns (paper: 2)"""

    @property
    def bytes(self) -> int:
        """Size of all halves: 196,608 B in the paper's configuration (196 KB)."""
        return self.halves * self.rows * self.row_channels * self.width_bits // 8

    def capacity_rows(self, head_dim: int) -> int:
        """Rows of another head dimension that fit in one half."""
        return self.rows * self.row_channels // padded_head_dim(head_dim)

    def check(self, name: str, rows: int, head_dim: int, where: str) -> None:
        """Raise InputError when one head's rows do not fit in one half."""
        capacity = self.capacity_rows(head_dim)
        if rows > capacity:
            half = self.bytes // self.halves
            raise InputError(
                f"{where}: {name} must be at most {capacity} rows of {head_dim} channels, "
                f"one half ({half} bytes) of the SRAM, not {rows}"
            )
