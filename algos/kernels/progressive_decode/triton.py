"""Progressive quantisation of one query.  SpAtten, arXiv:2012.09852, section III-D.

`msb_scores` scores all keys from the MSB plane of K. `fetch_values` knows from that the largest
probability of each query head; if it is below the threshold, the head's programs read the LSB
plane too and correct the scores, else they do not touch it. Then they mix V.
"""

import triton
import triton.language as tl

from algos.kernels.decode.triton import (
    FLOOR,
    by_line,
    empty,
    finish,
    merge_parts,  # noqa: F401
    online,
    query_group,
)
from algos.kernels.nibbles.triton import lifted


@triton.jit
def msb_scores(
    query, msb, key_scale, scores, tops, sums, scale_log2, keys, length,
    GROUP: tl.constexpr, DIM: tl.constexpr, NIBBLES: tl.constexpr, REPEAT: tl.constexpr,
    ROWS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write scores of the MSB plane, (batch x heads, keys), in units of log2, up to a constant.

    Also, of each part of the keys, the largest and log2 of the sum of exponentials.
    """
    part = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    head = row * GROUP + tl.arange(0, GROUP)
    n = tl.arange(0, REPEAT * ROWS)[None, None, :]
    WIDTH: tl.constexpr = DIM // 8 if NIBBLES else DIM  # words or bytes of a row
    d = tl.arange(0, WIDTH)[None, None, None, :]
    q = query_group(query, row, GROUP, DIM)
    unit = tl.load(key_scale + row) * scale_log2 * (256 if NIBBLES else 16)
    top = tl.full([GROUP, ROWS], FLOOR, tl.float32)
    total = tl.zeros([GROUP, ROWS], tl.float32)
    end = tl.minimum(keys, (part + 1) * length)
    for start in tl.range(part * length, end, REPEAT * ROWS, num_stages=STAGES):
        at = start + n
        k = tl.load(
            msb + (row * keys + at[:, :, :, None]) * WIDTH + d,
            mask=at[:, :, :, None] < end,
            other=0,
        )
        # Of nibbles, 1.5 more than a 16th of what a code stands for; softmax does not see it.
        k = lifted(k) if NIBBLES else k.to(tl.float32)
        s = tl.sum(k * q, 3) * unit
        tl.store(scores + head[:, None, None] * keys + at, s, mask=at < end)
        s = by_line(tl.where(at < end, s, float("-inf")), ROWS)
        new = tl.maximum(top, tl.max(s, 1))
        total = total * tl.exp2(top - new) + tl.sum(tl.exp2(s - new[:, None, :]), 1)
        top = new
    most = tl.max(top, 1)
    total = tl.sum(total * tl.exp2(top - most[:, None]), 1)
    to = head * tl.num_programs(0) + part
    tl.store(tops + to, most)
    tl.store(sums + to, most + tl.log2(total))


@triton.jit
def unsure(tops, sums, head, parts, threshold, GROUP: tl.constexpr, PARTS: tl.constexpr):
    """Return (GROUP,) whether the largest probability of a head is below the threshold."""
    s = tl.arange(0, PARTS)[None, :]
    at = (head + tl.arange(0, GROUP))[:, None] * parts + s
    most = tl.max(tl.load(tops + at, mask=s < parts, other=float("-inf")), 1)
    of_part = tl.load(sums + at, mask=s < parts, other=float("-inf"))
    return tl.sum(tl.exp2(of_part - most[:, None]), 1) * threshold > 1


@triton.jit
def mixed_values(
    query, lsb, value, scores, needed, unit, row, keys, start, end,
    LSB: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, REPEAT: tl.constexpr,
    ROWS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Return maximum, sum and mixed codes of V of some keys; corrected by LSBs where needed."""
    n = tl.arange(0, REPEAT * ROWS)[None, None, :]
    head = (row * GROUP + tl.arange(0, GROUP))[:, None, None]
    d = tl.arange(0, DIM)[None, None, None, :]
    w = tl.arange(0, DIM // 8)[None, None, None, :]
    if LSB:
        q = query_group(query, row, GROUP, DIM)
    top, total, mixed = empty(GROUP, ROWS, DIM)
    for first in tl.range(start, end, REPEAT * ROWS, num_stages=STAGES):
        at = first + n
        seen = at < end
        s = tl.load(scores + head * keys + at, mask=seen, other=float("-inf"))
        v = tl.load(
            value + (row * keys + at[:, :, :, None]) * DIM + d, mask=seen[:, :, :, None], other=0
        )
        if LSB:
            words = (row * keys + at[:, :, :, None]) * (DIM // 8) + w
            words = tl.max_contiguous(words, [1, 1, 1, 2])  # so many of a thread, as bytes of V
            low = tl.load(lsb + words, mask=seen[:, :, :, None], other=0)
            fine = s + tl.sum(lifted(low) * q, 3) * unit  # too much alike for all keys
            s = tl.where(needed[:, None, None], fine, s)
        top, total, mixed = online(s, v.to(tl.float32), top, total, mixed)
    return top, total, mixed


@triton.jit
def fetch_values(
    query, lsb, value, key_scale, value_scale, scores, tops, sums, recomputed, partial, lse,
    scale_log2, threshold, keys, score_parts, value_length,
    GROUP: tl.constexpr, DIM: tl.constexpr, PARTS: tl.constexpr, REPEAT: tl.constexpr,
    ROWS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Write a part of each head, log2 of its sum, and whether it was recomputed."""
    part = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    needed = unsure(tops, sums, row * GROUP, score_parts, threshold, GROUP, PARTS)
    if part == 0:
        tl.store(recomputed + row * GROUP + tl.arange(0, GROUP), needed.to(tl.int32))
    unit = tl.load(key_scale + row) * scale_log2 * 16  # 1 of a lifted code
    start = part * value_length
    end = tl.minimum(keys, start + value_length)
    if tl.max(needed.to(tl.int32), 0) > 0:
        top, total, mixed = mixed_values(
            query, lsb, value, scores, needed, unit, row, keys, start, end,
            True, GROUP, DIM, REPEAT, ROWS, STAGES,
        )  # fmt: skip
    else:
        top, total, mixed = mixed_values(
            query, lsb, value, scores, needed, unit, row, keys, start, end,
            False, GROUP, DIM, REPEAT, ROWS, STAGES,
        )  # fmt: skip
    mixed *= tl.load(value_scale + row)
    finish(top, total, mixed, partial, lse, row * GROUP, part, tl.num_programs(0), GROUP, DIM)
