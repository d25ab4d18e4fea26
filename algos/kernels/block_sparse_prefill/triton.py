"""Attention of a block of queries to a list of blocks of keys.

The masks of Lee et al., HiP, ICLR 2025, arXiv:2406.09827. A program takes one block of queries of
one head; a step gathers a tile of keys, of one block or of several. Lists ascend, so the blocks
that need a mask are the last ones: those that hold a key behind the first query, or past the end.
"""

import triton
import triton.language as tl

from algos.kernels.dense_prefill.triton import NOTHING, attend


@triton.jit
def listed_keys(blocks_at, place, count, BLOCK_KEYS: tl.constexpr, MASKED: tl.constexpr):
    """Return keys at places of the listed blocks; MASKED: past the end the last block repeats."""
    slot = place // BLOCK_KEYS
    if MASKED:
        slot = tl.minimum(slot, count - 1)
    return tl.load(blocks_at + slot) * BLOCK_KEYS + place % BLOCK_KEYS


@triton.jit
def block_sparse_prefill(
    query, key, value, blocks, counts, output, scale_log2, queries, keys,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, CAUSAL: tl.constexpr,
    KEPT: tl.constexpr, BLOCK_KEYS: tl.constexpr, MASKED_BLOCKS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write (batch x heads, queries, DIM); 0 for a query that sees no listed key.

    Lists are (batch x heads, blocks of queries, KEPT), of which `counts` are used. At most
    MASKED_BLOCKS of a list need a mask.
    """
    tile = tl.program_id(0)
    if CAUSAL:  # the longest lists first
        tile = tl.num_programs(0) - 1 - tile
    row = tl.program_id(1).to(tl.int64)
    kv_row = row // HEADS * KV_HEADS + row % HEADS // (HEADS // KV_HEADS)
    m = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, DIM)
    n = tl.arange(0, BLOCK_N)
    list_row = row * tl.num_programs(0) + tile
    count = tl.load(counts + list_row)
    blocks_at = blocks + list_row * KEPT
    rows_at = (row * queries + m[:, None]) * DIM + d[None, :]
    q = tl.load(query + rows_at, mask=m[:, None] < queries, other=0.0)
    keys_at = key + kv_row * keys * DIM + d[:, None]
    values_at = value + kv_row * keys * DIM + d[None, :]
    largest = tl.full([BLOCK_M], NOTHING, tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, DIM], tl.float32)
    end = count * BLOCK_KEYS
    whole = tl.maximum(count - MASKED_BLOCKS, 0) * BLOCK_KEYS // BLOCK_N * BLOCK_N
    for start in range(0, whole, BLOCK_N):
        at = listed_keys(blocks_at, start + n, count, BLOCK_KEYS, False)
        k = tl.load(keys_at + at[None, :] * DIM)
        v = tl.load(values_at + at[:, None] * DIM)
        largest, total, mixed = attend(tl.dot(q, k), v, scale_log2, largest, total, mixed)
    last = tl.full([BLOCK_M], 0, tl.int32) + keys - 1
    if CAUSAL:
        last = tl.minimum(last, keys - queries + m)
    for start in range(whole, end, BLOCK_N):
        at = listed_keys(blocks_at, start + n, count, BLOCK_KEYS, True)
        there = tl.minimum(at, keys - 1)
        k = tl.load(keys_at + there[None, :] * DIM)
        v = tl.load(values_at + there[:, None] * DIM)
        at = tl.where(start + n < end, at, keys)
        scores = tl.where(at[None, :] <= last[:, None], tl.dot(q, k), float("-inf"))
        largest, total, mixed = attend(scores, v, scale_log2, largest, total, mixed)
    share = 1.0 / tl.maximum(total, 1e-30)  # the mix of no keys is 0 already
    results = (mixed * share[:, None]).to(output.dtype.element_ty)
    tl.store(output + rows_at, results, mask=m[:, None] < queries)
