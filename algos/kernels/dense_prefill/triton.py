"""Dense attention with online softmax, a tile of queries a program.

Dao, FlashAttention-2, arXiv:2307.08691, algorithm 1.
"""

import triton
import triton.language as tl


@triton.jit
def dense_prefill(
    query, key, value, output, scale_log2, queries, keys,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, CAUSAL: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write (batch x heads, queries, DIM); the scale holds log2(e), for exp2."""
    tile = tl.program_id(0)
    if CAUSAL:  # the longest rows first
        tile = tl.num_programs(0) - 1 - tile
    row = tl.program_id(1).to(tl.int64)
    batch, head = row // HEADS, row % HEADS
    kv_row = batch * KV_HEADS + head // (HEADS // KV_HEADS)
    m = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, DIM)
    n = tl.arange(0, BLOCK_N)
    q = tl.load(
        query + (row * queries + m[:, None]) * DIM + d[None, :],
        mask=m[:, None] < queries, other=0.0,
    )  # fmt: skip
    keys_at = key + kv_row * keys * DIM + d[:, None]
    values_at = value + kv_row * keys * DIM + d[None, :]
    largest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, DIM], tl.float32)
    behind = keys - queries  # keys before the first query
    end = keys
    whole = keys // BLOCK_N * BLOCK_N  # tiles before this need no mask
    if CAUSAL:
        end = tl.minimum(keys, behind + (tile + 1) * BLOCK_M)
        whole = tl.minimum(whole, (behind + tile * BLOCK_M + 1) // BLOCK_N * BLOCK_N)
    for start in range(0, whole, BLOCK_N):
        at = start + n
        k = tl.load(keys_at + at[None, :] * DIM)
        scores = tl.dot(q, k) * scale_log2
        top = tl.maximum(largest, tl.max(scores, 1))
        p = tl.exp2(scores - top[:, None])
        old = tl.exp2(largest - top)
        total = total * old + tl.sum(p, 1)
        v = tl.load(values_at + at[:, None] * DIM)
        mixed = tl.dot(p.to(v.dtype), v, mixed * old[:, None])
        largest = top
    for start in range(whole, end, BLOCK_N):
        at = start + n
        k = tl.load(keys_at + at[None, :] * DIM, mask=at[None, :] < keys, other=0.0)
        scores = tl.dot(q, k) * scale_log2
        seen = at[None, :] < keys
        if CAUSAL:
            seen = seen & (at[None, :] <= behind + m[:, None])
        scores = tl.where(seen, scores, float("-inf"))
        top = tl.maximum(largest, tl.max(scores, 1))
        p = tl.exp2(scores - top[:, None])
        old = tl.exp2(largest - top)
        total = total * old + tl.sum(p, 1)
        v = tl.load(values_at + at[:, None] * DIM, mask=at[:, None] < keys, other=0.0)
        mixed = tl.dot(p.to(v.dtype), v, mixed * old[:, None])
        largest = top
    tl.store(
        output + (row * queries + m[:, None]) * DIM + d[None, :],
        (mixed / total[:, None]).to(output.dtype.element_ty),
        mask=m[:, None] < queries,
    )
