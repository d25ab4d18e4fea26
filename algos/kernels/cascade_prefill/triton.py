"""Attention among kept tokens of kept heads, and how important they are.

Wang et al., SpAtten, HPCA 2021, arXiv:2012.09852, cascade token and head pruning. A program takes a
tile of the kept queries of one kept head, and writes its sums of importance; `importance_sums` adds
these up in a fixed order, so results are repeatable.
"""

import triton
import triton.language as tl

from algos.kernels.dense_prefill.triton import NOTHING, attend
from algos.kernels.gather.triton import listed, listed_scores


@triton.jit
def rows_of(row, head_ids, HEADS: tl.constexpr, KV_HEADS: tl.constexpr, KEPT_HEADS: tl.constexpr):
    """Return sequence, row of Q, and row of K and V, of a row of the results."""
    batch = row // KEPT_HEADS
    head = tl.load(head_ids + row)
    return batch, batch * HEADS + head, batch * KV_HEADS + head // (HEADS // KV_HEADS)


@triton.jit
def finish(mixed, total, m, row, tile, kept, output, head_parts, DIM: tl.constexpr):
    """Write a tile of results, and the sum of their absolute values."""
    results = mixed * (1.0 / total)[:, None]
    written = m[:, None] < kept
    at = (row * kept + m[:, None]) * DIM + tl.arange(0, DIM)[None, :]
    tl.store(output + at, results.to(output.dtype.element_ty), mask=written)
    size = tl.sum(tl.sum(tl.where(written, tl.abs(results), 0.0), 1), 0)
    tl.store(head_parts + row * tl.num_programs(0) + tile, size)


@triton.jit
def cascade_prefill(
    query, key, value, token_ids, head_ids, output, token_parts, head_parts,
    scale_log2, tokens, kept, stride,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, KEPT_HEADS: tl.constexpr, DIM: tl.constexpr,
    CAUSAL: tl.constexpr, RAGGED: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write results (batch x kept heads, kept, DIM), and sums (batch x kept heads, tiles, stride).

    A key's probabilities need the sums of softmax over all keys, so keys are visited twice: for the
    results, and for exp2(score - log2 of the sum), which is added up over the tile's queries.
    """
    tile = tl.program_id(0)
    if CAUSAL:  # the longest rows first
        tile = tl.num_programs(0) - 1 - tile
    row = tl.program_id(1).to(tl.int64)
    batch, query_row, kv_row = rows_of(row, head_ids, HEADS, KV_HEADS, KEPT_HEADS)
    ids_at = token_ids + batch * kept
    m = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, DIM)
    n = tl.arange(0, BLOCK_N)
    query_ids = listed(ids_at, m, kept, True)
    q = tl.load(query + query_row * tokens * DIM + query_ids[:, None] * DIM + d[None, :])
    keys_at = key + kv_row * tokens * DIM + d[:, None]
    values_at = value + kv_row * tokens * DIM + d[None, :]
    largest = tl.full([BLOCK_M], NOTHING, tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    mixed = tl.zeros([BLOCK_M, DIM], tl.float32)
    end = kept
    whole = kept // BLOCK_N * BLOCK_N  # tiles before this need no mask
    if CAUSAL:
        end = tl.minimum(kept, (tile + 1) * BLOCK_M)
        whole = tl.minimum(whole, (tile * BLOCK_M + 1) // BLOCK_N * BLOCK_N)
    if not (CAUSAL or RAGGED):
        end = whole
    for start in range(0, whole, BLOCK_N):
        scores, ids = listed_scores(q, keys_at, ids_at, start + n, m, kept, DIM, CAUSAL, False)
        v = tl.load(values_at + ids[:, None] * DIM)
        largest, total, mixed = attend(scores, v, scale_log2, largest, total, mixed)
    for start in range(whole, end, BLOCK_N):
        scores, ids = listed_scores(q, keys_at, ids_at, start + n, m, kept, DIM, CAUSAL, True)
        v = tl.load(values_at + ids[:, None] * DIM)
        largest, total, mixed = attend(scores, v, scale_log2, largest, total, mixed)
    finish(mixed, total, m, row, tile, kept, output, head_parts, DIM)
    # rows past the last query add nothing
    taken = tl.where(m < kept, largest + tl.log2(total), float("inf"))
    parts_at = token_parts + (row * tl.num_programs(0) + tile) * stride
    for start in range(0, whole, BLOCK_N):
        scores, ids = listed_scores(q, keys_at, ids_at, start + n, m, kept, DIM, CAUSAL, False)
        p = tl.exp2(scores * scale_log2 - taken[:, None])
        tl.store(parts_at + start + n, tl.sum(p, 0))
    for start in range(whole, end, BLOCK_N):
        scores, ids = listed_scores(q, keys_at, ids_at, start + n, m, kept, DIM, CAUSAL, True)
        p = tl.exp2(scores * scale_log2 - taken[:, None])
        tl.store(parts_at + start + n, tl.sum(p, 0), mask=start + n < kept)


@triton.jit
def cascade_short(
    query, key, value, token_ids, head_ids, output, token_parts, head_parts,
    scale_log2, tokens, kept, stride,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, KEPT_HEADS: tl.constexpr, DIM: tl.constexpr,
    CAUSAL: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write the same where one tile holds all kept keys: its probabilities are final."""
    tile = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    batch, query_row, kv_row = rows_of(row, head_ids, HEADS, KV_HEADS, KEPT_HEADS)
    ids_at = token_ids + batch * kept
    m = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, DIM)
    n = tl.arange(0, BLOCK_N)
    query_ids = listed(ids_at, m, kept, True)
    q = tl.load(query + query_row * tokens * DIM + query_ids[:, None] * DIM + d[None, :])
    keys_at = key + kv_row * tokens * DIM + d[:, None]
    scores, ids = listed_scores(q, keys_at, ids_at, n, m, kept, DIM, CAUSAL, True)
    v = tl.load(value + kv_row * tokens * DIM + d[None, :] + ids[:, None] * DIM)
    p = tl.exp2(scores * scale_log2 - (tl.max(scores, 1) * scale_log2)[:, None])
    total = tl.sum(p, 1)
    finish(tl.dot(p.to(v.dtype), v), total, m, row, tile, kept, output, head_parts, DIM)
    share = tl.where(m < kept, 1.0 / total, 0.0)
    parts_at = token_parts + (row * tl.num_programs(0) + tile) * stride
    tl.store(parts_at + n, tl.sum(p * share[:, None], 0), mask=n < kept)


@triton.jit
def importance_sums(
    token_parts, head_parts, token_importance, head_importance, kept, stride,
    KEPT_HEADS: tl.constexpr, CAUSAL: tl.constexpr, BLOCK_M: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Add up the parts: of COLUMNS tokens in the first programs, of one head in the others."""
    batch = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    r = tl.arange(0, ROWS)
    head = tl.program_id(0) - tl.cdiv(kept, COLUMNS)
    tiles = tl.cdiv(kept, BLOCK_M)
    if head < 0:
        rows = KEPT_HEADS * tiles
        parts_at = token_parts + batch * rows * stride + at[None, :]
        sums = tl.zeros([ROWS, COLUMNS], tl.float32)
        for start in range(0, rows, ROWS):
            row = start + r[:, None]
            written = (row < rows) & (at[None, :] < kept)
            if CAUSAL:  # a tile does not visit what is behind it
                written = written & (at[None, :] // BLOCK_M <= row % tiles)
            sums += tl.load(parts_at + row.to(tl.int64) * stride, mask=written, other=0.0)
        tl.store(token_importance + batch * kept + at, tl.sum(sums, 0), mask=at < kept)
    else:
        row = batch * KEPT_HEADS + head
        size = tl.zeros([ROWS], tl.float32)
        for start in range(0, tiles, ROWS):
            size += tl.load(head_parts + row * tiles + start + r, mask=start + r < tiles, other=0.0)
        tl.store(head_importance + row, tl.sum(size, 0))
