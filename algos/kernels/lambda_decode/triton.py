"""Lambda attention of one query over a KV cache in 4 bits.

AccLLM, arXiv:2505.03745. Codes are unpacked in registers, as 1 + code / 16; scales and zero points
of a token are applied to its score and to its probability, not to each element:
q . (code - zero) = 16 q . lifted - (16 + zero) sum(q).
"""

import triton
import triton.language as tl

from algos.kernels.decode.triton import (
    by_line,
    empty,
    finish,
    merge_parts,  # noqa: F401
    query_group,
    rows_by_line,
)
from algos.kernels.nibbles.triton import lifted


@triton.jit
def half(bits):
    """Return the float16 number of the low 16 bits, in float32."""
    return (bits & 0xFFFF).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


@triton.jit
def lambda_decode(
    query, key, value, scales, zeros, partial, lse, scale_log2, slots, held, length,
    GROUP: tl.constexpr, DIM: tl.constexpr, REPEAT: tl.constexpr, ROWS: tl.constexpr,
    STAGES: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """Write a part of each head: (batch x heads, parts, DIM), and log2 of its sum."""
    part = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, REPEAT * ROWS)[None, None, :]
    w = tl.arange(0, DIM // 8)[None, None, None, :]
    q = query_group(query, row, GROUP, DIM) * scale_log2
    q_sum = tl.sum(q, 3)
    top, total, mixed = empty(GROUP, ROWS, DIM)
    offset = tl.zeros([GROUP, ROWS], tl.float32)
    end = tl.minimum(held, (part + 1) * length)
    for start in tl.range(part * length, end, REPEAT * ROWS, num_stages=STAGES):
        at = start + n
        seen = at < end
        wide = seen[:, :, :, None]
        words = (row * slots + at[:, :, :, None]) * (DIM // 8) + w
        words = tl.max_contiguous(words, [1, 1, 1, WORDS])  # of a thread
        k = tl.load(key + words, mask=wide, other=0)
        v = tl.load(value + words, mask=wide, other=0)
        scale = tl.load(scales + row * slots + at, mask=seen, other=0)
        zero = tl.load(zeros + (row * slots + at) // 4, mask=seen, other=0) >> at % 4 * 8
        scores = 16 * tl.sum(lifted(k) * q, 3) - (16 + (zero & 15)) * q_sum
        scores = tl.where(seen, scores * half(scale), float("-inf"))
        scores = by_line(scores, ROWS)
        new = tl.maximum(top, tl.max(scores, 1))
        old = tl.exp2(top - new)
        p = tl.exp2(scores - new[:, None, :])
        total = total * old + tl.sum(p, 1)
        p *= by_line(half(scale >> 16), ROWS)
        offset = offset * old + tl.sum(p * (16 + by_line(zero >> 4 & 15, ROWS)), 1)
        values = rows_by_line(lifted(v), ROWS)
        mixed = mixed * old[:, :, None] + tl.sum(p[:, :, :, None] * values, 1)
        top = new
    mixed = 16 * mixed - offset[:, :, None]
    finish(top, total, mixed, partial, lse, row * GROUP, part, tl.num_programs(0), GROUP, DIM)
