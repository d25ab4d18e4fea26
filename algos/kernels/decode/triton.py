"""Device functions of single-query attention: online softmax, and the merge.

A tile of keys is (1, 1, REPEAT * ROWS, channels): ROWS lines of threads side by side, each of which
takes REPEAT keys one after the other. Each line has its own running maximum and sum, so the loop
needs no exchange between warps; `finish` brings the lines together. Heads that share K and V are
the first axis of scores, (GROUP, 1, REPEAT * ROWS), in units of log2.

Functions of a `tile` are for heads that are the rows of a tensor-core product.
"""

import triton
import triton.language as tl

FLOOR = tl.constexpr(-1e30)  # finite, so that a line without keys gives no infinity - infinity


@triton.jit
def in_turn(a, b, c, d, e, f, g, h):
    """Return (i, j, k, 8 n) of eight (i, j, k, n), an element of each in turn."""
    even = tl.join(tl.join(a, e), tl.join(c, g))
    odd = tl.join(tl.join(b, f), tl.join(d, h))
    return tl.join(even, odd).reshape(a.shape[0], a.shape[1], a.shape[2], 8 * a.shape[3])


@triton.jit
def query_group(query, row, GROUP: tl.constexpr, DIM: tl.constexpr):
    """Return the query heads of a group, (GROUP, 1, 1, DIM) float32.

    Eight loads of fewer elements than threads: the compiler keeps the layout of a load that has
    more, and would move K to it in every step.
    """
    g = tl.arange(0, GROUP)[:, None, None, None]
    n = tl.arange(0, DIM // 8)[None, None, None, :]
    at = query + (row * GROUP + g) * DIM + 8 * n
    return in_turn(
        tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3),
        tl.load(at + 4), tl.load(at + 5), tl.load(at + 6), tl.load(at + 7),
    ).to(tl.float32)  # fmt: skip


@triton.jit
def empty(GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr):
    """Return maximum, sum and mixed values of no key."""
    top = tl.full([GROUP, ROWS], FLOOR, tl.float32)
    total = tl.zeros([GROUP, ROWS], tl.float32)
    return top, total, tl.zeros([GROUP, ROWS, DIM], tl.float32)


@triton.jit
def by_line(x, ROWS: tl.constexpr):
    """Return (a, 1, REPEAT * ROWS) as (a, REPEAT, ROWS): nothing moves between threads."""
    return x.reshape(x.shape[0], x.shape[2] // ROWS, ROWS)


@triton.jit
def rows_by_line(x, ROWS: tl.constexpr):
    """Return (a, 1, REPEAT * ROWS, b) as (a, REPEAT, ROWS, b), likewise."""
    return x.reshape(x.shape[0], x.shape[2] // ROWS, ROWS, x.shape[3])


@triton.jit
def online(scores, values, top, total, mixed):
    """Return maximum, sum and mixed values with the keys of a tile."""
    scores, values = by_line(scores, top.shape[1]), rows_by_line(values, top.shape[1])
    new = tl.maximum(top, tl.max(scores, 1))
    old = tl.exp2(top - new)
    p = tl.exp2(scores - new[:, None, :])
    mixed = mixed * old[:, :, None] + tl.sum(p[:, :, :, None] * values, 1)
    return new, total * old + tl.sum(p, 1), mixed


@triton.jit
def finish(
    top, total, mixed, partial, lse, head, part, parts,
    GROUP: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """Write the attention of a part of the keys, and log2 of its sum of exponentials."""
    most = tl.max(top, 1)
    weight = tl.exp2(top - most[:, None])
    total = tl.sum(total * weight, 1)
    mixed = tl.sum(mixed * weight[:, :, None], 1) / total[:, None]
    at = (head + tl.arange(0, GROUP)) * parts + part
    d = tl.arange(0, DIM)
    tl.store(partial + at[:, None] * DIM + d[None, :], mixed.to(partial.dtype.element_ty))
    tl.store(lse + at, most + tl.log2(total))


@triton.jit
def empty_tile(BLOCK_M: tl.constexpr, DIM: tl.constexpr):
    """Return maximum, sum and mixed values of no key, for heads that are rows of a tile."""
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    return top, total, tl.zeros([BLOCK_M, DIM], tl.float32)


@triton.jit
def online_tile(scores, values, top, total, mixed):
    """Return them with the keys of a tile: scores (heads, keys), V (keys, DIM) half precision."""
    new = tl.maximum(top, tl.max(scores, 1))
    p = tl.exp2(scores - new[:, None])
    old = tl.exp2(top - new)
    mixed = tl.dot(p.to(values.dtype), values, mixed * old[:, None])
    return new, total * old + tl.sum(p, 1), mixed


@triton.jit
def finish_tile(
    top, total, mixed, partial, lse, head, part, parts,
    GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Write what `finish` writes."""
    m = tl.arange(0, BLOCK_M)
    d = tl.arange(0, DIM)
    at = (head + m) * parts + part
    mixed = (mixed / total[:, None]).to(partial.dtype.element_ty)
    tl.store(partial + at[:, None] * DIM + d[None, :], mixed, mask=m[:, None] < GROUP)
    tl.store(lse + at, top + tl.log2(total), mask=m < GROUP)


@triton.jit
def merge_parts(partial, lse, output, parts, DIM: tl.constexpr, PARTS: tl.constexpr):
    """Write (heads, DIM): parts weighted by their sums of exponentials."""
    head = tl.program_id(0).to(tl.int64)
    s = tl.arange(0, PARTS)
    d = tl.arange(0, DIM)
    sums = tl.load(lse + head * parts + s, mask=s < parts, other=float("-inf"))
    weight = tl.exp2(sums - tl.max(sums, 0))
    values = tl.load(
        partial + (head * parts + s[:, None]) * DIM + d[None, :], mask=s[:, None] < parts, other=0.0
    )
    mixed = tl.sum(values * weight[:, None], 0) / tl.sum(weight, 0)
    tl.store(output + head * DIM + d, mixed.to(output.dtype.element_ty))


@triton.jit
def add_parts(partial, output, parts, DIM: tl.constexpr, PARTS: tl.constexpr):
    """Write (heads, DIM): the sum of parts."""
    head = tl.program_id(0).to(tl.int64)
    s = tl.arange(0, PARTS)
    d = tl.arange(0, DIM)
    values = tl.load(
        partial + (head * parts + s[:, None]) * DIM + d[None, :], mask=s[:, None] < parts, other=0.0
    )
    tl.store(output + head * DIM + d, tl.sum(values, 0).to(output.dtype.element_ty))
