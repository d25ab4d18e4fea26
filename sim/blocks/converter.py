"""Bit-width converter: rows as memory holds them to elements of the width used on chip.

SpAtten (HPCA 2021), module 6: MSB planes go to the high bits, LSB planes to the low ones, which are
written beside the MSBs; elements in full width pass.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from workloads.config import Config

FULL, MSB, LSB = range(3)
"""What a row holds of each element: all bits, the high ones, the low ones."""


class ConverterConfig(Config):
    """Size of a converter."""

    rows: int = Field(8, ge=1, le=64)
    """rows converted together"""
    channels: int = Field(64, ge=1)
    """elements of a row"""
    width_bits: int = Field(12, ge=2, le=16)
    """bits of an element on chip"""
    lsb_bits: int = Field(4, ge=1)
    """bits of an element in an LSB plane (paper: 4)"""

    @model_validator(mode="after")
    def _planes_fit(self) -> ConverterConfig:
        if self.lsb_bits >= self.width_bits:
            raise ValueError(
                f"Converter lsb_bits must be below width_bits, {self.width_bits}, "
                f"not {self.lsb_bits}"
            )
        return self

    @property
    def latency_cycles(self) -> int:
        """Registers between input and output."""
        return 1

    def stored_bits(self, plane: int) -> int:
        """Bits of an element in memory."""
        return (self.width_bits, self.width_bits - self.lsb_bits, self.lsb_bits)[plane]


def convert_golden(config: ConverterConfig, row: int, plane: int) -> np.ndarray:
    """Return a row's elements, (channels,) signed, from its packed bits; missing bits are zero."""
    bits = config.stored_bits(plane)
    shift = config.lsb_bits if plane == MSB else 0
    found = []
    for channel in range(config.channels):
        element = ((row >> (channel * bits)) & ((1 << bits) - 1)) << shift
        top = 1 << (config.width_bits - 1)
        found.append(element - 2 * top if element & top else element)
    return np.array(found, np.int64)


def pack_rows(config: ConverterConfig, rows: np.ndarray, plane: int) -> list[int]:
    """Return rows of signed elements, (rows, channels), as memory holds a plane of them."""
    bits = config.stored_bits(plane)
    shift = config.lsb_bits if plane == MSB else 0
    mask = (1 << bits) - 1
    return [
        sum(
            ((int(element) >> shift) & mask) << (channel * bits)
            for channel, element in enumerate(row)
        )
        for row in rows
    ]
