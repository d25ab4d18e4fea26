"""KV4 dequantiser: from the dot product of codes to the argument of a base-2 exponential.

A key is 4-bit codes with one FP16 scale and one 4-bit zero point (AccLLM, arXiv 2505.03745: KV4 per
token and head). Neither is applied to the codes: the zero point is taken off the finished dot
product, and scale, query scale and softmax temperature are one multiplication behind it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from workloads.config import Config
from workloads.errors import InputError

IntArray = np.ndarray[Any, np.dtype[np.int64]]

CODE_BITS = 4
"""bits of a code and of a zero point, unsigned"""
SCALE_BITS = 16
"""bits of a scale, FP16"""
MANTISSA_BITS = 11
"""bits of an FP16 number's mantissa with the one in front"""
FRACTION_BITS = 10
"""fraction bits of an argument"""
ARGUMENT_BITS = 24
"""bits of an argument, signed, so it spans 2**-8192 to 2**8192"""
MULTIPLIER_BITS = 16
"""bits of the multiplier, unsigned, the highest one set"""
SHIFT_BITS = 8
"""bits of the shift that goes with it, signed"""


class Kv4DequantConfig(Config):
    """Widths of the dequantiser behind an array of a head's channels."""

    channels: int = Field(128, ge=1, le=1024)
    """most channels of a head (Llama-2-7B: 128)"""
    tag_bits: int = Field(22, ge=1, le=64)
    """bits that pass unchanged: a value's scale and zero point, ends of block and row"""

    @property
    def sum_bits(self) -> int:
        """Bits of a sum of the query's codes, signed; each is within 127."""
        return (self.channels * 127).bit_length() + 1

    @property
    def dot_bits(self) -> int:
        """Bits of a dot product, signed, before and behind the zero point's correction."""
        return (self.channels * 127 * ((1 << CODE_BITS) - 1)).bit_length() + 1

    @property
    def product_bits(self) -> int:
        """Bits of a dot product times mantissa times multiplier, signed."""
        return self.dot_bits + MANTISSA_BITS + MULTIPLIER_BITS

    @property
    def latency_cycles(self) -> int:
        """Correction, two products, two halves of the shift, saturation."""
        return 6


def half_parts(scales: Any) -> tuple[IntArray, IntArray]:
    """Return (mantissa, exponent) of FP16 numbers >= 0: each is mantissa * 2**(exponent - 25).

    Args:
        scales: float16, or their bits as integers, of any shape.
    """
    array = np.asarray(scales)
    bits = array.view(np.uint16) if array.dtype == np.float16 else array
    bits = bits.astype(np.int64)
    field = (bits >> 10) & 31
    return (bits & 1023) | np.where(field > 0, 1024, 0), np.maximum(field, 1)


def score_multiplier(query_scale: float, head_dim: int) -> tuple[int, int]:
    """Return (multiplier, shift) that turn dot products of codes into base-2 arguments.

    multiplier * 2**(15 - shift) is query_scale * log2(e) / sqrt(head_dim), to 16 bits.

    Args:
        query_scale: real value of one step of the query's int8 codes, above 0.
        head_dim: channels of the head.

    Raises:
        InputError: the scale is not above 0, or too small or large for the shift's bits.
    """
    factor = query_scale * math.log2(math.e) / math.sqrt(head_dim)
    if not (math.isfinite(factor) and factor > 0):
        raise InputError(f"query scale must be above 0 and finite, not {query_scale}")
    fraction, exponent = math.frexp(factor)
    multiplier = round(fraction * (1 << MULTIPLIER_BITS))
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, exponent = multiplier >> 1, exponent + 1
    shift = MULTIPLIER_BITS + 15 - exponent
    limit = 1 << (SHIFT_BITS - 1)
    if not -limit <= shift < limit:
        raise InputError(f"query scale must be between 1e-27 and 1e47, not {query_scale}")
    return multiplier, shift


def arguments_golden(
    dots: Any, query_sum: Any, zeros: Any, scales: Any, multiplier: Any, shift: Any
) -> IntArray:
    """Return the base-2 arguments of scores, 24 bits signed, 10 of them fraction.

    2**(argument / 1024) is exp(score). Rounded to nearest (halves up) and saturated, so each is
    within half a step of 2**-10, besides the multiplier's error of 2**-16 of the score.

    Args:
        dots: (...) sums of query code times key code over a head's channels.
        query_sum: sum of the query's codes.
        zeros: (...) zero points of the keys.
        scales: (...) FP16 scales of the keys, or their bits.
        multiplier, shift: from `score_multiplier`.
    """
    mantissa, exponent = half_parts(scales)
    corrected = np.asarray(dots, np.int64) - np.asarray(zeros, np.int64) * query_sum
    product = corrected * mantissa * multiplier
    return _shifted(product, shift - exponent)


def _shifted(product: IntArray, right: IntArray) -> IntArray:
    """Return products of less than 2**61 shifted right, or left where negative, and saturated."""
    low, high = -(1 << (ARGUMENT_BITS - 1)), (1 << (ARGUMENT_BITS - 1)) - 1
    places = np.clip(right, 1, 62)
    down = (product + (np.int64(1) << (places - 1))) >> places
    up = np.clip(product, low, high) << np.clip(-right, 0, ARGUMENT_BITS)
    shifted: IntArray = np.clip(np.where(right > 0, down, up), low, high)
    return shifted
