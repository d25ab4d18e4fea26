"""Group dequantizer of W2: sums of codes times activations become sums of weights times them.

A weight is (q - z) * scale, with one zero point and one scale a group. The products of unsigned
codes are summed first; the zero point is taken off as z times the sum of the activations that meet
kept weights: T = sum q x - z sum x. T times the scale, an FP16 number taken as an exact integer, is
summed over the groups of a row. AccLLM (arXiv 2505.03745) gives W2, groups of 64 and zero points;
where the zero point is applied is our choice: (q - z) has a sign, for which the packed products of
one DSP slice have no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from sim.blocks.packed_mac import signed
from workloads.config import Config
from workloads.errors import InputError

SCALE_EXPONENT = -24
"""Scales as integers are in units of 2^-24, the smallest FP16 number."""
SCALE_BITS = 24
"""Bits of a scale as an integer: scales are below 1."""
ACC_BITS = 48
_FRACTION_BITS = 10
_ONE = 15 << _FRACTION_BITS  # FP16 of 1.0


class GroupDequantConfig(Config):
    """Size of a group dequantizer."""

    inputs: int = Field(64, ge=4, le=1024, multiple_of=4)
    """inputs of a group, of which half are kept"""
    tokens: int = Field(1, ge=1, le=256)
    """tokens whose sums are under way at once"""

    @property
    def sum_bits(self) -> int:
        """Bits of a sum of codes times activations, signed."""
        return (self.inputs // 2 * 3 * 127).bit_length() + 1

    @property
    def kept_bits(self) -> int:
        """Bits of a sum of activations, signed."""
        return (self.inputs // 2 * 127).bit_length() + 1

    @property
    def latency_cycles(self) -> int:
        """Registers from a group to its row's sum: T, product, sum."""
        return 3


@dataclass(frozen=True)
class Group:
    """Sums of one group of a row for one token, its metadata, and whether it begins, ends a row."""

    products: int  # sum of q * x over kept weights
    kept: int  # sum of x over kept weights
    scale: int  # FP16, as 16 bits
    zero: int  # 0..3
    token: int = 0
    first: bool = True
    last: bool = True


def scale_integer(bits: int) -> int:
    """Return an FP16 scale in units of 2^-24.

    Raises:
        InputError: the number is negative, 1 or more, or no number.
    """
    if not 0 <= bits < _ONE:
        raise InputError(f"a scale must be an FP16 number from 0 to below 1, not {bits:#06x}")
    exponent, fraction = bits >> _FRACTION_BITS, bits & ((1 << _FRACTION_BITS) - 1)
    mantissa = fraction | (min(exponent, 1) << _FRACTION_BITS)
    return mantissa << (max(exponent, 1) - 1)


def dequant_golden(groups: Sequence[Group]) -> list[int]:
    """Return the sum of each row that ends, signed 48 bits, in units of 2^-24.

    Raises:
        InputError: a scale out of range.
    """
    sums: dict[int, int] = {}
    found = []
    for group in groups:
        term = (group.products - group.zero * group.kept) * scale_integer(group.scale)
        before = 0 if group.first else sums[group.token]
        sums[group.token] = signed(before + term, ACC_BITS)
        if group.last:
            found.append(sums[group.token])
    return found
