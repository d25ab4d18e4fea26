"""Running sums of attention over blocks of keys, and the one division at a row's end.

Blocks come with exponents of their own. The sums so far are moved to the larger of both exponents
before a block is added, as in online softmax, by shifts alone: exponents are those of base 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from sim.blocks.exp_block import ExpBlock
from sim.blocks.kv4_dequant import IntArray
from workloads.config import Config

OUTPUT_FRACTION_BITS = 16
"""fraction bits of an output"""
OUTPUT_BITS = 32
"""bits of an output, signed"""
TOTAL_BITS = 40
"""bits of the running sum of exponentials, in steps of 2**-16"""
SUM_BITS = 48
"""bits of a channel's running sum, signed, in steps of 2**-24"""
NORMAL_BITS = 17
"""bits of the divisor: the sum of exponentials, its highest bit moved to 2**16"""
RECIPROCAL_BITS = 33
"""a reciprocal is floor(2**33 / divisor), above 2**16 and at most 2**17"""
QUOTIENT_BITS = 18
"""bits of a reciprocal, and cycles of the division"""
MAX_LEFT = 22
"""largest exponent of a block: 19 bits are cut at most, and a value's scale is below 64"""
PRODUCT_SHIFT = 25
"""from normalised sum times reciprocal to the output's fraction bits"""
MAX_KEYS = 8192
"""keys of a row: with scales of values below 64 more could overflow a channel's running sum"""
MAX_EXPONENT = 20
"""largest exponent of a value's scale, which is thus below 64"""


class ValueAccumulateConfig(Config):
    """Size of the unit behind an array that sums weights times codes over a block."""

    channels: int = Field(128, ge=2)
    """most channels of a head, a multiple of `lanes` (Llama-2-7B: 128)"""
    lanes: int = Field(2, ge=1)
    """channels per cycle (2: those of one DSP slice)"""
    block: int = Field(64, ge=1, le=1024)
    """most keys of a block"""

    @property
    def beats(self) -> int:
        """Beats of a row of the widest head."""
        return self.channels // self.lanes

    @property
    def normal_bits(self) -> int:
        """Bits of a channel's sum beside the divisor of 17 bits, signed.

        An output is the largest value, 15 * 64, times the share of its weights: a block's are
        rounded up by half a step each, of at least 128 that its largest has. 20 more are for the
        floors of running sums, below 1 % each in 128 blocks.
        """
        largest = 15 * 64 * (256 + self.block) // 256 + 20
        return (largest << (NORMAL_BITS + 8)).bit_length() + 1

    @property
    def raw_bits(self) -> int:
        """Bits of a channel's sum of weights times codes over a block, unsigned."""
        return (self.block * 255 * 15).bit_length()


class Running(NamedTuple):
    """Sums of a row so far."""

    maximum: int
    total: int  # of exponentials, in steps of 2**(maximum - 16)
    sums: IntArray  # (channels,) of exponentials times values, in steps of 2**(maximum - 24)


def accumulate_golden(running: Running | None, block: ExpBlock, raw: IntArray) -> Running:
    """Return the running sums with one more block.

    Args:
        running: the sums so far, None before the first block.
        block: the block's exponents, its sum of exponentials and of weights times zero points.
        raw: (channels,) sums of weights times codes.
    """
    if running is None:
        running = Running(block.maximum, 0, np.zeros(len(raw), np.int64))
    maximum = max(running.maximum, block.maximum)
    old, new = min(maximum - running.maximum, 63), min(maximum - block.maximum, 63)
    left = block.exponent - new
    sums = np.asarray(raw, np.int64) - block.zero_sum
    sums = sums << left if left >= 0 else sums >> min(-left, 63)
    total = (running.total >> old) + (block.total >> new)
    return Running(maximum, total, (running.sums >> old) + sums)


def divide_golden(running: Running) -> IntArray:
    """Return the (channels,) outputs of a row, with 16 fraction bits.

    Within 1 step and 2**-15 of the quotient. An output cannot leave 32 bits: a value is below
    15 * 64, cutting weights to 8 bits adds less than a quarter, so it needs 28.

    Args:
        running: the sums of all blocks of a row; the total has at least 16 bits, for the largest
            exponential alone is at least 2**15.
    """
    places = running.total.bit_length() - NORMAL_BITS
    reciprocal = (1 << RECIPROCAL_BITS) // _moved(running.total, places)
    normal = running.sums << -places if places < 0 else running.sums >> places
    half = 1 << (PRODUCT_SHIFT - 1)
    outputs: IntArray = (normal * reciprocal + half) >> PRODUCT_SHIFT
    return outputs


def _moved(value: int, right: int) -> int:
    return value >> right if right >= 0 else value << -right


def row_golden(blocks: Any) -> IntArray:
    """Return the (channels,) outputs of a row.

    Args:
        blocks: (block, raw sums of its channels) in order, at least one.
    """
    running: Running | None = None
    for block, raw in blocks:
        running = accumulate_golden(running, block, raw)
    assert running is not None
    return divide_golden(running)
