"""Unpacker of a KV cache: metadata and codes of a head from one stream of memory beats.

A block of tokens lies in memory as the metadata of its tokens (FP16 scale and 4-bit zero point of
the key, then of the value: 40 bits, bit after bit, filled up to a beat), its keys and its values, a
token in a beat. Attention reads keys a block ahead of values: M0 K0 M1 K1 V0 M2 K2 V1 and so on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from sim.blocks.value_accumulate import MAX_KEYS
from workloads.config import Config

Array = np.ndarray[Any, Any]

SCALE_BITS, ZERO_BITS = 16, 4
TOKEN_BITS = 2 * (SCALE_BITS + ZERO_BITS)
"""bits of metadata of a token"""


class KvUnpackerConfig(Config):
    """Size of the unpacker: a beat has 8 bits for each DSP slice behind it."""

    dsps: int = Field(64, ge=8)
    """bytes of a beat, a power of two"""
    block: int = Field(64, ge=1, le=512)
    """tokens of a block"""

    @property
    def most_keys(self) -> int:
        """Most keys of a row."""
        return MAX_KEYS

    @property
    def queue_depth(self) -> int:
        """Beats of metadata stored: of the block that is used and of the next."""
        return 2 * metadata_beats(self.block, self.dsps)


def metadata_beats(tokens: int, beat_bytes: int) -> int:
    """Return the beats of the metadata of a block's tokens."""
    return -(-tokens * TOKEN_BITS // (8 * beat_bytes))


def row_beats(keys: int, config: KvUnpackerConfig) -> int:
    """Return the beats of a row with its metadata."""
    whole, rest = divmod(keys, config.block)
    metadata = whole * metadata_beats(config.block, config.dsps)
    return 2 * keys + metadata + metadata_beats(rest, config.dsps)


def pack_kv(config: KvUnpackerConfig, keys: Array, values: Array, tokens: Array) -> Array:
    """Return (beats, bytes) uint8 of a row as it is streamed.

    Args:
        config: bytes of a beat, and the block.
        keys, values: (tokens, bytes) beats of codes.
        tokens: (tokens, 4) integers: bits of the key's scale, its zero point, the value's scale,
            its zero point.
    """
    blocks = [
        slice(start, min(start + config.block, len(keys)))
        for start in range(0, len(keys), config.block)
    ]
    parts: list[Array] = []
    for number, block in enumerate(blocks):
        parts += [_metadata(tokens[block], config.dsps), keys[block]]
        if number:
            parts.append(values[blocks[number - 1]])
    return np.concatenate([*parts, values[blocks[-1]]]).astype(np.uint8)


def _metadata(tokens: Array, beat_bytes: int) -> Array:
    widths = (SCALE_BITS, ZERO_BITS, SCALE_BITS, ZERO_BITS)
    bits = [(tokens[:, place, None] >> np.arange(width)) & 1 for place, width in enumerate(widths)]
    flat = np.concatenate(bits, 1).reshape(-1)
    filled = np.zeros(metadata_beats(len(tokens), beat_bytes) * 8 * beat_bytes, np.uint8)
    filled[: len(flat)] = flat
    return np.packbits(filled, bitorder="little").reshape(-1, beat_bytes)
