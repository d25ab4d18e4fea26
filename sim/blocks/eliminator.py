"""Zero eliminator: packs the elements that are kept into the first lanes, in order.

SpAtten (HPCA 2021), architecture section: a prefix sum counts the dropped elements before each
lane; log2(lanes) shift layers move an element down by 2^j if bit j of its count is set.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from workloads.config import Config


class EliminatorConfig(Config):
    """Size of a zero eliminator."""

    lanes: int = Field(16, ge=1, le=1024)
    """elements that enter together"""
    width_bits: int = Field(12, ge=1, le=64)
    """bits of an element"""

    @property
    def layers(self) -> int:
        """Shift layers: enough for lanes - 1 dropped elements."""
        return (self.lanes - 1).bit_length()

    @property
    def latency_cycles(self) -> int:
        """Registers between input and output."""
        return 1


def eliminate_golden(elements: Sequence[int], keep: Sequence[bool]) -> list[int]:
    """Return the kept elements in order."""
    return [element for element, kept in zip(elements, keep, strict=True) if kept]
