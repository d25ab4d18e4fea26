"""Key and value SRAM: one part fills from DRAM while another feeds an array.

SpAtten's buffer holds two heads of the longest context (double buffering). Shorter heads are
allocated one behind another, in order, as the released RTL's buffer manager does.
"""

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
    """heads of the longest context that fit (paper: 2, double buffering)"""
    heads: int = Field(16, ge=1)
    """heads that may be held at a time (released RTL: 16 handles; 2: strict double buffering)"""

    @property
    def bytes(self) -> int:
        """Size of all halves: 196,608 B in the paper's configuration (196 KB)."""
        return self.halves * self.rows * self.row_channels * self.width_bits // 8

    def capacity_rows(self, head_dim: int) -> int:
        """Rows of another head dimension that fit in one half."""
        return self.rows * self.row_channels // padded_head_dim(head_dim)

    def total_rows(self, head_dim: int) -> int:
        """Rows of another head dimension that fit in the whole buffer."""
        return self.halves * self.capacity_rows(head_dim)

    def check(self, name: str, rows: int, head_dim: int, where: str) -> None:
        """Raise InputError when one head's rows do not fit in one half."""
        capacity = self.capacity_rows(head_dim)
        if rows > capacity:
            half = self.bytes // self.halves
            raise InputError(
                f"{where}: {name} must be at most {capacity} rows of {head_dim} channels, "
                f"one half ({half} bytes) of the SRAM, not {rows}"
            )
