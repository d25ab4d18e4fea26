"""Dense attention of one query: a program reads a part of the keys of one KV head, once.

Dao et al., Flash-Decoding (2023): parts of the keys side by side, merged by their sums. A head
with its own K is vector code: two multiply-adds an element cost less than tensor-core tiles with
one row in 16. Heads that share K are the rows of such a tile.
"""

import triton
import triton.language as tl

from algos.kernels.decode.triton import (
    empty,
    empty_tile,
    finish,
    finish_tile,
    merge_parts,  # noqa: F401
    online,
    online_tile,
    query_group,
)


@triton.jit
def decode_vector(
    query, key, value, partial, lse, scale_log2, keys, length,
    DIM: tl.constexpr, REPEAT: tl.constexpr, ROWS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write a part of each head: (batch x heads, parts, DIM), and log2 of its sum."""
    part = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, REPEAT * ROWS)[None, None, :]
    d = tl.arange(0, DIM)[None, None, None, :]
    q = query_group(query, head, 1, DIM) * scale_log2
    top, total, mixed = empty(1, ROWS, DIM)
    end = tl.minimum(keys, (part + 1) * length)
    for start in tl.range(part * length, end, REPEAT * ROWS, num_stages=STAGES):
        seen = start + n < end
        at = (head * keys + start + n[:, :, :, None]) * DIM + d
        k = tl.load(key + at, mask=seen[:, :, :, None], other=0.0)
        v = tl.load(value + at, mask=seen[:, :, :, None], other=0.0)
        scores = tl.sum(k.to(tl.float32) * q, 3)
        scores = tl.where(seen, scores, float("-inf"))
        top, total, mixed = online(scores, v.to(tl.float32), top, total, mixed)
    finish(top, total, mixed, partial, lse, head, part, tl.num_programs(0), 1, DIM)


@triton.jit
def decode_group(
    query, key, value, partial, lse, scale_log2, keys, length,
    GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Write a part of each head of a group, as `decode_vector` does."""
    part = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    m = tl.arange(0, BLOCK_M)
    n = tl.arange(0, BLOCK_N)
    d = tl.arange(0, DIM)
    q = tl.load(
        query + (row * GROUP + m[:, None]) * DIM + d[None, :], mask=m[:, None] < GROUP, other=0.0
    )
    top, total, mixed = empty_tile(BLOCK_M, DIM)
    end = tl.minimum(keys, (part + 1) * length)
    for start in tl.range(part * length, end, BLOCK_N, num_stages=STAGES):
        at = start + n
        k = tl.load(
            key + (row * keys + at[None, :]) * DIM + d[:, None], mask=at[None, :] < end, other=0.0
        )
        v = tl.load(
            value + (row * keys + at[:, None]) * DIM + d[None, :], mask=at[:, None] < end, other=0.0
        )
        scores = tl.where(at[None, :] < end, tl.dot(q, k) * scale_log2, float("-inf"))
        top, total, mixed = online_tile(scores, v, top, total, mixed)
    finish_tile(
        top, total, mixed, partial, lse, row * GROUP, part, tl.num_programs(0), GROUP, DIM, BLOCK_M
    )
