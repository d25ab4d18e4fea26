"""Attention of one head and one query over a KV cache of 4-bit codes, in integers.

The path of AccLLM (arXiv 2505.03745): dot products of 8 by 4 bits, exponentials that share an
exponent over a block of keys, weights of 8 bits times values of 4 bits, one division a row. What
the paper leaves open (widths, where scales enter, the block) is chosen here and stated in the
files of the steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from sim.blocks.exp_block import ExpBlockConfig, exp_block_golden
from sim.blocks.kv4_dequant import (
    IntArray,
    Kv4DequantConfig,
    arguments_golden,
    half_parts,
    score_multiplier,
)
from sim.blocks.value_accumulate import (
    MAX_EXPONENT,
    MAX_KEYS,
    ValueAccumulateConfig,
    row_golden,
)
from workloads.config import Config
from workloads.errors import InputError

__all__ = ["attend", "score_multiplier"]

Array = np.ndarray[Any, Any]


class W2A8KV4AttentionConfig(Config):
    """Size of the attention path; a beat of memory is 8 bits for each DSP slice."""

    dsps: int = Field(64, ge=1)
    """DSP slices; two channels of a head in each (64: the 64 B of an HBM pseudo-channel)"""
    lanes: int = Field(2, ge=2)
    """channels a cycle behind the values' sums; 2: a block's leave while the next one comes"""
    block: int = Field(64, ge=1, le=512)
    """most keys of a block; a lane of a DSP overflows beyond 548"""
    primitive: bool = False
    """the DSP48E2 of the vendor's library; else its behaviour, for simulation and other targets"""

    @property
    def channels(self) -> int:
        """Most channels of a head."""
        return 2 * self.dsps

    @property
    def most_keys(self) -> int:
        """Most keys of a row."""
        return MAX_KEYS

    @property
    def tree_stages(self) -> int:
        """Registers of the tree over DSPs: one for each two levels."""
        return max(1, (max(self.dsps - 1, 1).bit_length() + 1) // 2)

    @property
    def dequant(self) -> Kv4DequantConfig:
        return Kv4DequantConfig(channels=self.channels)

    @property
    def exponential(self) -> ExpBlockConfig:
        return ExpBlockConfig(block=self.block)

    @property
    def accumulate(self) -> ValueAccumulateConfig:
        return ValueAccumulateConfig(channels=self.channels, lanes=self.lanes, block=self.block)


def attend(
    q_codes: Array,
    k_codes: Array,
    k_scales: Array,
    k_zeros: Array,
    v_codes: Array,
    v_scales: Array,
    v_zeros: Array,
    multiplier: int,
    shift: int,
    block: int = 64,
) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the (channels,) int32 outputs of a head for one query, with 16 fraction bits.

    A key or value is (code - zero) * scale. Weights of 8 bits dominate the error: each is off by
    half a step of the largest of its block, which has 128 to 255 steps.

    Args:
        q_codes: (channels,) int8 codes within -127..127.
        k_codes, v_codes: (keys, channels) codes 0..15.
        k_scales, v_scales: (keys,) float16, or their bits as uint16; values' below 64.
        k_zeros, v_zeros: (keys,) zero points 0..15.
        multiplier, shift: from `score_multiplier`.
        block: keys that share exponents; the last block may be shorter.

    Raises:
        InputError: no key or more than 8,192, a code of the query beyond 127, a scale that is
            negative or no finite number, or one of a value that is not below 64.
    """
    keys = len(k_codes)
    _check(q_codes, k_scales, v_scales, keys)
    query = np.asarray(q_codes, np.int64)
    dots = np.asarray(k_codes, np.int64) @ query
    arguments = arguments_golden(dots, query.sum(), k_zeros, k_scales, multiplier, shift)
    return weigh(arguments, v_codes, v_scales, v_zeros, block)


def weigh(
    arguments: IntArray, v_codes: Array, v_scales: Array, v_zeros: Array, block: int = 64
) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return the (channels,) outputs of a head from the (keys,) arguments of its exponentials.

    The rest is as in `attend`.
    """
    values = np.asarray(v_codes, np.int64)
    blocks = []
    for start in range(0, len(values), block):
        here = slice(start, start + block)
        one = exp_block_golden(arguments[here], v_scales[here], v_zeros[here])
        blocks.append((one, one.weights @ values[here]))
    return row_golden(blocks).astype(np.int32)


def _check(query: Array, k_scales: Array, v_scales: Array, keys: int) -> None:
    if not 1 <= keys <= MAX_KEYS:
        raise InputError(f"attention must have 1 to {MAX_KEYS} keys, not {keys}")
    if (largest := int(np.abs(np.asarray(query, np.int64)).max())) > 127:
        raise InputError(f"codes of a query must be within -127 to 127, not {largest}")
    limits = {"keys": (k_scales, 30, "finite"), "values": (v_scales, MAX_EXPONENT, "below 64")}
    for name, (scales, highest, rule) in limits.items():
        array = np.asarray(scales)
        bits = array.view(np.uint16) if array.dtype == np.float16 else array
        _, exponent = half_parts(bits)
        wrong = (exponent > highest) | (bits >= 1 << 15)
        if wrong.any():
            number = bits[wrong].astype(np.uint16).view(np.float16)[0]
            raise InputError(f"scales of {name} must be at least 0 and {rule}, not {number}")
