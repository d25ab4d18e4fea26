"""The nonlinear unit of a W2A8KV4 machine, in integers: norm, rotation, SiLU, quantisation.

Values have `FRACTION_BITS` bits after the point and are held in int64. A vector that goes to the
engine becomes int8 codes and the largest magnitude that 127 stands for; the scale of a code is
`largest / 127`. Everything is exact integer arithmetic, so a machine can be checked bit for bit.
Quantisation per token to +-127: AccLLM (arXiv 2505.03745); the fixed-point widths are ours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sim.blocks.exp_block import exp2_golden

IntArray = np.ndarray[Any, np.dtype[np.int64]]

FRACTION_BITS = 16
GAIN_BITS = 12  # after the point of a norm's weights
ANGLE_BITS = 14  # after the point of cosines and sines
SCALE_BITS = 24  # an FP16 weight scale is an integer in units of 2^-24
CODE_MAX, KV_CODE_MAX = 127, 15
EXPONENT_BITS = 10  # after the point of the argument of 2^x
_LOG2E = round(np.log2(np.e) * (1 << EXPONENT_BITS))


class Quantised(NamedTuple):
    """Vectors as the engine takes them."""

    codes: IntArray  # (tokens, n), -127..127
    largest: IntArray  # (tokens, 1), the magnitude of code 127, in units of 2^-16


def to_fixed(x: Any) -> IntArray:
    """Return real numbers in fixed point, half to even."""
    return np.rint(np.asarray(x, np.float64) * (1 << FRACTION_BITS)).astype(np.int64)


def to_real(x: IntArray) -> Any:
    """Return fixed-point numbers as float64."""
    return x / (1 << FRACTION_BITS)


def quantise(x: IntArray) -> Quantised:
    """Return the codes of (tokens, n) numbers: 127 x / max|x|, half up; zeros stay zeros."""
    largest = np.abs(x).max(-1, keepdims=True)
    return Quantised(_codes(x, largest), largest)


def _codes(x: IntArray, largest: IntArray) -> IntArray:
    safe = np.maximum(largest, 1)
    codes: IntArray = (2 * CODE_MAX * x + safe) // (2 * safe)
    return np.clip(codes, -CODE_MAX, CODE_MAX)


class KvCodes(NamedTuple):
    """K or V of some tokens as the cache stores them."""

    codes: IntArray  # (tokens, heads, channels), 0..15
    scales: Any  # (tokens, heads) float16
    zeros: IntArray  # (tokens, heads), 0..15


def quantise_kv(x: IntArray) -> KvCodes:
    """Return the 4-bit codes of (tokens, heads, channels) numbers, a scale and zero a vector.

    scale = (max - min) / 15 in FP16, zero = round(-min / scale), code = round(x / scale) + zero,
    half to even, cut to 0..15; the range always includes 0 (AccLLM: 4 bits per token and head).
    """
    top = np.maximum(x.max(-1), 0)
    bottom = np.minimum(x.min(-1), 0)
    scales = ((top - bottom) / (KV_CODE_MAX << FRACTION_BITS)).astype(np.float16)
    scales = np.maximum(scales, np.float16(2.0**-24))  # the smallest one: all zeros stay zeros
    step = scales.astype(np.float64) * (1 << FRACTION_BITS)
    zeros = np.clip(np.rint(-bottom / step), 0, KV_CODE_MAX).astype(np.int64)
    codes = np.rint(x / step[..., None]).astype(np.int64) + zeros[..., None]
    return KvCodes(np.clip(codes, 0, KV_CODE_MAX), scales, zeros)


def norm_quantise(x: IntArray, gain: IntArray, epsilon: float) -> Quantised:
    """Normalise (tokens, n) by their root mean square, weigh by `gain` and quantise.

    The codes need no root: only what 127 stands for does.

    Args:
        x: magnitudes below 2^31.
        gain: (n,) weights with `GAIN_BITS` bits after the point, below 2^16 in magnitude.
        epsilon: added to the mean square.
    """
    shift = np.maximum(_bit_length(np.abs(x).max(-1, keepdims=True)) - 24, 0)
    reduced = x >> shift
    mean = (reduced * reduced).sum(-1, keepdims=True) // x.shape[-1]
    mean += round(epsilon * (1 << 2 * FRACTION_BITS)) >> (2 * shift)
    root = np.maximum(isqrt(mean), 1) << shift
    weighed = x * gain
    largest = np.abs(weighed).max(-1, keepdims=True)
    return Quantised(_codes(weighed, largest), (largest << (FRACTION_BITS - GAIN_BITS)) // root)


def dequantise(accumulated: IntArray, largest: IntArray) -> IntArray:
    """Return the engine's sums as numbers: acc 2^-24 largest / 127, half up, 32 bit.

    Args:
        accumulated: (tokens, rows), 48 bit.
        largest: (tokens, 1) of the inputs; its top 16 bits count.
    """
    excess = np.maximum(_bit_length(largest) - 16, 0)
    product = (accumulated >> 4) * (largest >> excess)
    # a shift that would be negative multiplies instead: excess is at most 15
    divisor = CODE_MAX << (SCALE_BITS - 4 - excess)
    return saturate((product + divisor // 2) // divisor)


def rotate(x: IntArray, cosine: IntArray, sine: IntArray) -> IntArray:
    """Rotate pairs of channels, as Llama pairs them: channel i with channel i + half.

    Args:
        x: (tokens, heads, channels).
        cosine, sine: (tokens, 1, channels / 2) with `ANGLE_BITS` bits after the point.
    """
    first, second = np.split(x, 2, -1)
    half = 1 << (ANGLE_BITS - 1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return (np.concatenate(turned, -1) + half) >> ANGLE_BITS


def angles(positions: IntArray, channels: int, theta: float) -> tuple[IntArray, IntArray]:
    """Return cosines and sines (tokens, 1, channels / 2) for `rotate`."""
    frequency = theta ** -(np.arange(0, channels, 2) / channels)
    angle = positions[:, None, None] * frequency
    scale = 1 << ANGLE_BITS
    return tuple(np.rint(f(angle) * scale).astype(np.int64) for f in (np.cos, np.sin))


def silu_multiply(gate: IntArray, up: IntArray) -> IntArray:
    """Return gate * sigmoid(gate) * up: 2^x in 16 segments, one division an element."""
    one = 1 << FRACTION_BITS
    argument = (np.abs(gate) * _LOG2E) >> FRACTION_BITS  # EXPONENT_BITS after the point
    power = exp2_golden(-argument)  # 2^-|x log2 e|, 16 bits after the point
    numerator = np.where(gate >= 0, one, power)
    sigmoid = (numerator << FRACTION_BITS) // (one + power)
    return saturate(((gate * sigmoid) >> FRACTION_BITS) * up >> FRACTION_BITS)


def saturate(x: IntArray) -> IntArray:
    """Return numbers cut to 32 bits."""
    return np.clip(x, -(1 << 31), (1 << 31) - 1)


def isqrt(x: IntArray) -> IntArray:
    """Return the integer square roots of non-negative numbers below 2^62."""
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    root -= root * root > x
    root += (root + 1) * (root + 1) <= x
    return root


def _bit_length(x: IntArray) -> IntArray:
    """Return the bits of non-negative numbers below 2^53."""
    return np.frexp(x.astype(np.float64))[1].astype(np.int64)
