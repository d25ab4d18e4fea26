"""Block-scaled exponentials: from the arguments of a block of keys to 8-bit weights of its values.

The scores of a block of keys (64) share one exponent, their largest rounded up, and so do the
weights of its values. The scale of each value is folded into its weight before it is cut to 8 bits,
so the array multiplies 8 by 4 bits and nothing behind it depends on the token (S8 and KV4 of
AccLLM, arXiv 2505.03745; where the value's scale enters is this project's choice).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from sim.blocks.kv4_dequant import FRACTION_BITS, MANTISSA_BITS, IntArray, half_parts
from workloads.config import Config

EXP_BITS = 16
"""fraction bits of an exponential: 2**0 is 1 << 16"""
SEGMENT_BITS = 4
"""leading fraction bits of an argument that choose a linear segment"""
WEIGHT_BITS = 8
"""bits of a value's weight, unsigned"""
PRODUCT_BITS = EXP_BITS + MANTISSA_BITS
"""bits of an exponential of at most 1 << 16 times a mantissa below 1 << 11"""
EXPONENT_BITS = 7
"""bits of the exponent of a block's weights, signed: -16 to 33"""
UNIT_SHIFT = 17
"""A sum of weights times codes is shifted left by `exponent` to units of 2**-24: a product of
exponential and mantissa has units of 2**(v - 25 - 16), v the value scale's exponent."""
PRODUCT_CYCLES = 7
"""last key of a block read to its first product read"""

_BOUNDS = np.round(2.0 ** (EXP_BITS + np.arange((1 << SEGMENT_BITS) + 1) / (1 << SEGMENT_BITS)))
EXP_BASE: IntArray = _BOUNDS[:-1].astype(np.int64)
"""2**x in steps of 2**-16 where a segment begins, x from 0 to 1 in steps of 2**-4"""
EXP_SLOPE: IntArray = np.diff(_BOUNDS).astype(np.int64)
"""how much it grows over a segment"""


class ExpBlockConfig(Config):
    """Size of the unit; it takes an argument and gives a weight each cycle."""

    block: int = Field(64, ge=1, le=1024)
    """most keys of a block (64: as many as the groups of 2-bit weights)"""

    @property
    def key_depth(self) -> int:
        """Keys stored: a block, and what comes until its maximum is known."""
        return self.block + 1

    @property
    def product_depth(self) -> int:
        """Products stored: a block, and what comes until its largest is known."""
        return self.block + PRODUCT_CYCLES

    @property
    def maximum_bits(self) -> int:
        """Bits of a block's exponent, signed: -8192 to 8192."""
        return 15

    @property
    def total_bits(self) -> int:
        """Bits of a block's sum of exponentials."""
        return (self.block << EXP_BITS).bit_length()

    @property
    def zero_sum_bits(self) -> int:
        """Bits of a block's sum of weights times zero points."""
        return (self.block * 255 * 15).bit_length()


class ExpBlock(NamedTuple):
    """What a block of keys gives."""

    weights: IntArray  # (keys,) unsigned 8 bits
    maximum: int  # exponent of base 2 that its exponentials share
    total: int  # their sum, in steps of 2**(maximum - 16)
    exponent: int  # weights have steps of 2**(maximum + exponent - 24), applied to codes
    zero_sum: int  # sum of weights times zero points


def exp2_golden(below: Any) -> IntArray:
    """Return 2**(below / 1024) in steps of 2**-16, rounded down; 0 from 2**-17 on.

    Sixteen linear segments: off by less than 2**-11 of the value and 2**-16 (tested).

    Args:
        below: (...) arguments at most 0, with 10 fraction bits.
    """
    below = np.asarray(below, np.int64)
    rest_bits = FRACTION_BITS - SEGMENT_BITS
    fraction = below & ((1 << FRACTION_BITS) - 1)
    segment, rest = fraction >> rest_bits, fraction & ((1 << rest_bits) - 1)
    value = EXP_BASE[segment] + ((EXP_SLOPE[segment] * rest) >> rest_bits)
    places = np.minimum(-(below >> FRACTION_BITS), EXP_BITS + 1)
    exponentials: IntArray = value >> places
    return exponentials


def exp_block_golden(arguments: Any, scales: Any, zeros: Any) -> ExpBlock:
    """Return the weights of a block's values and what their sums must be scaled by.

    Args:
        arguments: (keys,) base-2 arguments, 24 bits signed, 10 of them fraction.
        scales: (keys,) FP16 scales of the values, or their bits.
        zeros: (keys,) zero points of the values.
    """
    arguments = np.asarray(arguments, np.int64)
    mantissa, exponent = half_parts(scales)
    maximum = -((-int(arguments.max())) >> FRACTION_BITS)
    exponentials = exp2_golden(arguments - (maximum << FRACTION_BITS))
    shared = int(exponent.max())
    products = (exponentials * mantissa) >> (shared - exponent)
    cut = max(int(products.max()).bit_length() - WEIGHT_BITS, 0)
    half = (1 << cut) >> 1
    weights: IntArray = np.minimum((products + half) >> cut, (1 << WEIGHT_BITS) - 1)
    return ExpBlock(
        weights=weights,
        maximum=maximum,
        total=int(exponentials.sum()),
        exponent=cut + shared - UNIT_SHIFT,
        zero_sum=int((weights * np.asarray(zeros, np.int64)).sum()),
    )
