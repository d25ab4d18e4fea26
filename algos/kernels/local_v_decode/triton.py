"""Local value pruning of one query: score all keys, select, fetch the V rows that are left.

SpAtten, arXiv:2012.09852, section III-C. The rows left keep the probabilities that they have among
all keys; they are not renormalised.
"""

import triton
import triton.language as tl

from algos.kernels.decode.triton import add_parts, query_group  # noqa: F401
from algos.kernels.threshold.triton import NOTHING, kept_places, kth_largest, ordered


@triton.jit
def score_keys(
    query, key, scores, scale_log2, keys, length,
    GROUP: tl.constexpr, DIM: tl.constexpr, REPEAT: tl.constexpr, ROWS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Write (batch x heads, keys) float32 scores in units of log2."""
    part = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    g = tl.arange(0, GROUP)
    n = tl.arange(0, REPEAT * ROWS)[None, None, :]
    d = tl.arange(0, DIM)[None, None, None, :]
    q = query_group(query, row, GROUP, DIM) * scale_log2
    to = scores + (row * GROUP + g[:, None, None]) * keys
    end = tl.minimum(keys, (part + 1) * length)
    for start in tl.range(part * length, end, REPEAT * ROWS, num_stages=STAGES):
        at = start + n
        k = tl.load(
            key + (row * keys + at[:, :, :, None]) * DIM + d,
            mask=at[:, :, :, None] < end,
            other=0.0,
        )
        tl.store(to + at, tl.sum(k.to(tl.float32) * q, 3), mask=at < end)


@triton.jit
def select_values(
    scores, ids, weights, keys, kept,
    KEYS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Write the kept keys of each row, (batch x heads, kept), ascending, and probabilities."""
    row = tl.program_id(0).to(tl.int64)
    n = tl.arange(0, KEYS)
    x = tl.load(scores + row * keys + n, mask=n < keys, other=float("-inf"))
    most = tl.max(x, 0)
    total = tl.sum(tl.exp2(x - most), 0)
    codes = tl.where(n < keys, ordered(x), NOTHING)
    threshold, _, equal = kth_largest(codes, keys, kept)
    above = 0
    same = 0
    c = tl.arange(0, CHUNK)
    for start in range(0, keys, CHUNK):  # again from the L2 cache: registers are full
        at = start + c
        score = tl.load(scores + row * keys + at, mask=at < keys, other=float("-inf"))
        code = tl.where(at < keys, ordered(score), NOTHING)
        keep, place, above, same = kept_places(code, threshold, equal, above, same)
        tl.store(ids + row * kept + place, at, mask=keep)
        tl.store(weights + row * kept + place, tl.exp2(score - most) / total, mask=keep)


@triton.jit
def mix_kept(
    value, ids, weights, partial, keys, kept, kept_length,
    GROUP: tl.constexpr, DIM: tl.constexpr, REPEAT: tl.constexpr, ROWS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Write a part of each head, (batch x heads, parts, DIM): its kept V rows, weighted."""
    part = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, REPEAT * ROWS)
    d = tl.arange(0, DIM)
    rows = value + head // GROUP * keys * DIM + d[None, :]
    mixed = tl.zeros([ROWS, DIM], tl.float32)
    end = tl.minimum(kept, (part + 1) * kept_length)
    for start in tl.range(part * kept_length, end, REPEAT * ROWS, num_stages=STAGES):
        at = start + n
        own = tl.load(ids + head * kept + at, mask=at < end, other=0)
        p = tl.load(weights + head * kept + at, mask=at < end, other=0.0)
        v = tl.load(rows + own[:, None] * DIM, mask=at[:, None] < end, other=0.0)
        weighed = p[:, None] * v.to(tl.float32)
        mixed += tl.sum(weighed.reshape(REPEAT, ROWS, DIM), 0)  # nothing moves between threads
    to = partial + (head * tl.num_programs(0) + part) * DIM + d
    tl.store(to, tl.sum(mixed, 0).to(partial.dtype.element_ty))
