"""Dense attention with online softmax, a tile of queries a program.

Dao, FlashAttention-2, arXiv:2307.08691, algorithm 1. Scores are scaled inside the exponential, one
multiply-add a score, and results are divided once at the end.
"""

import triton
import triton.language as tl

NOTHING = tl.constexpr(-1e30)
"""Largest score before any is seen: finite, so that a tile of masked keys alone adds nothing."""


@triton.jit
def attend(scores, v, scale_log2, largest, total, mixed):
    """Return largest score, sum of exponentials and their mix of V with one more tile.

    Scores (M, N) are not scaled yet, -inf where masked; v is (N, DIM). The scale is positive and
    holds log2(e), for exp2. The largest score is a scaled one: all exponentials are taken from it
    as rounded, by one multiply-add each, so that they agree; the error of a score x is 2^-24 x.
    """
    top = tl.maximum(largest, tl.max(scores, 1) * scale_log2)
    p = tl.exp2(scores * scale_log2 - top[:, None])
    old = tl.exp2(largest - top)
    total = total * old + tl.sum(p, 1)
    mixed = tl.dot(p.to(v.dtype), v, mixed * old[:, None])
    return top, total, mixed


@triton.jit
def dense_prefill(
    query, key, value, output, scale_log2, queries, keys,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, CAUSAL: tl.constexpr,
    RAGGED: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write (batch x heads, queries, DIM). RAGGED: the last tile of keys is not full."""
    tile = tl.program_id(0)
    if CAUSAL:  # the longest rows first
        tile = tl.num_programs(0) - 1 - tile
    row = tl.program_id(1).to(tl.int64)
    kv_row = row // HEADS * KV_HEADS + row % HEADS // (HEADS // KV_HEADS)
    m = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, DIM)
    n = tl.arange(0, BLOCK_N)
    rows_at = (row * queries + m[:, None]) * DIM + d[None, :]
    q = tl.load(query + rows_at, mask=m[:, None] < queries, other=0.0)
    keys_at = key + kv_row * keys * DIM + d[:, None]
    values_at = value + kv_row * keys * DIM + d[None, :]
    largest = tl.full([BLOCK_M], NOTHING, tl.float32)
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
        v = tl.load(values_at + at[:, None] * DIM)
        largest, total, mixed = attend(tl.dot(q, k), v, scale_log2, largest, total, mixed)
    for start in range(whole, end if CAUSAL or RAGGED else whole, BLOCK_N):
        at = start + n
        if RAGGED:
            k = tl.load(keys_at + at[None, :] * DIM, mask=at[None, :] < keys, other=0.0)
            v = tl.load(values_at + at[:, None] * DIM, mask=at[:, None] < keys, other=0.0)
        else:
            k = tl.load(keys_at + at[None, :] * DIM)
            v = tl.load(values_at + at[:, None] * DIM)
        seen = at[None, :] < keys
        if CAUSAL:  # rows behind the last query are not written
            seen = at[None, :] <= tl.minimum(behind + m, keys - 1)[:, None]
        scores = tl.where(seen, tl.dot(q, k), float("-inf"))
        largest, total, mixed = attend(scores, v, scale_log2, largest, total, mixed)
    results = (mixed * (1.0 / total)[:, None]).to(output.dtype.element_ty)
    tl.store(output + rows_at, results, mask=m[:, None] < queries)
