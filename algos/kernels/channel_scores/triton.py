"""Attention of one query over some channels of K, which lies channel after channel.

A channel's keys are side by side, so a channel that is not used costs no byte, whichever it is.
With a token's channels side by side, a sector of 32 B holds 16 of them, and few sectors are free of
a channel in use. Scores are a product with a tile of query heads, 16 rows at least.
"""

import triton
import triton.language as tl

from algos.kernels.decode.triton import (
    empty_tile,
    finish_tile,
    merge_parts,  # noqa: F401
    online_tile,
)


@triton.jit
def channel_decode(
    query, key, value, channels, partial, lse, scale_log2, keys, stride, stored, kept, length,
    COMPACT: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write a part of each head: (batch x heads, parts, DIM), and log2 of its sum."""
    part = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    m = tl.arange(0, BLOCK_M)
    n = tl.arange(0, BLOCK_N)
    c = tl.arange(0, CHANNELS)
    d = tl.arange(0, DIM)
    channel = tl.load(channels + row * kept + c, mask=c < kept, other=0)
    q = tl.load(
        query + (row * GROUP + m[:, None]) * DIM + channel[None, :],
        mask=(m[:, None] < GROUP) & (c[None, :] < kept), other=0.0,
    )  # fmt: skip
    lies = c if COMPACT else channel
    keys_at = key + (row * stored + lies[:, None]) * stride
    top, total, mixed = empty_tile(BLOCK_M, DIM)
    end = tl.minimum(keys, (part + 1) * length)
    for start in tl.range(part * length, end, BLOCK_N, num_stages=STAGES):
        at = start + n
        k = tl.load(  # to the end of the stride, so that 16 B are all there or not
            keys_at + at[None, :], mask=(c[:, None] < kept) & (at[None, :] < stride), other=0.0
        )
        v = tl.load(
            value + (row * keys + at[:, None]) * DIM + d[None, :], mask=at[:, None] < end, other=0.0
        )
        scores = tl.where(at[None, :] < end, tl.dot(q, k) * scale_log2, float("-inf"))
        top, total, mixed = online_tile(scores, v, top, total, mixed)
    finish_tile(
        top, total, mixed, partial, lse, row * GROUP, part, tl.num_programs(0), GROUP, DIM, BLOCK_M
    )
