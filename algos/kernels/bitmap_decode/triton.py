"""Decode over bitmaps: a thread walks the bits of a byte and takes a stored value at each one.

Joo et al., Mustafar, arXiv:2505.22913: load what is compressed, compute what is dense. Where they
unpack tiles for the tensor cores, rows stay in registers here: with few queries a KV head there is
nothing to gain from matrices, and every stored value is read once.
"""

import triton
import triton.language as tl

from algos.kernels.decode.triton import empty, merge_parts  # noqa: F401


@triton.jit
def _bits(bits, start, end, DIM: tl.constexpr, BLOCK_N: tl.constexpr):
    """Return the bitmaps of a step, asked for a step ahead: values wait for them."""
    n, c = start + tl.arange(0, BLOCK_N)[:, None], tl.arange(0, DIM // 8)[None, :]
    return tl.load(bits + n * (DIM // 8) + c, mask=n < end, other=0)


@triton.jit
def _ones_before(byte):
    """Return the ones in the bytes of a row that stand before each byte, and its own first bit."""
    byte = byte.to(tl.int32)
    ones = byte - ((byte >> 1) & 0x55)
    ones = (ones & 0x33) + ((ones >> 2) & 0x33)
    ones = (ones + (ones >> 4)) & 0x0F
    return tl.cumsum(ones, 1) - ones


@triton.jit
def _take(values, at, byte, BIT: tl.constexpr):
    """Return the value of a channel, zero if it was left out, and the place of the next one."""
    bit = (byte.to(tl.int32) >> BIT) & 1
    value = tl.load(values + at, mask=bit != 0, other=0.0).to(tl.float32)
    return value, tl.max_contiguous(at + bit, [1, 2])  # as of the first places


@triton.jit
def _scores(query, values, byte, at, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_N: tl.constexpr):
    """Return (GROUP, BLOCK_N): the products of the queries with stored rows of K."""
    g, c = tl.arange(0, GROUP), tl.arange(0, DIM // 8)
    total = tl.zeros([GROUP, BLOCK_N, DIM // 8], tl.float32)
    for bit in tl.static_range(8):
        value, at = _take(values, at, byte, bit)
        q = tl.load(query + g[:, None] * DIM + (c * 8 + bit)[None, :]).to(tl.float32)
        total += q[:, None, :] * value[None, :, :]
    return tl.sum(total, 2)


@triton.jit
def _mix(total, old, p, values, at, byte, BIT: tl.constexpr):
    """Add the weighted values of one channel of each byte."""
    value, at = _take(values, at, byte, BIT)
    return total * old[:, :, None] + p[:, :, None] * value[None, :, :], at


@triton.jit
def _window(
    query, key, value, partial, lse, first, part, parts, scale_log2, window,
    GROUP: tl.constexpr, DIM: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Write the attention to the latest tokens, which are stored whole."""
    n, d = tl.arange(0, WINDOW), tl.arange(0, DIM)
    places = n[:, None] * DIM + d[None, :]
    inside = (n < window)[:, None]
    k = tl.load(key + places, mask=inside, other=0.0).to(tl.float32)
    v = tl.load(value + places, mask=inside, other=0.0).to(tl.float32)
    for g in tl.static_range(GROUP):
        q = tl.load(query + g * DIM + d).to(tl.float32)
        scores = tl.sum(q[None, :] * k, 1) * scale_log2
        scores = tl.where(n < window, scores, float("-inf"))
        top = tl.max(scores, 0)
        p = tl.exp2(scores - top)
        total = tl.sum(p, 0)
        at = (first + g) * parts + part
        tl.store(partial + at * DIM + d, tl.sum(p[:, None] * v, 0) / total)
        tl.store(lse + at, top + tl.log2(total))


@triton.jit
def bitmap_decode(
    query, key_bits, key_values, value_bits, value_values, window_key, window_value,
    partial, lse, scale_log2, keys, length, window,
    GROUP: tl.constexpr, DIM: tl.constexpr, KEPT: tl.constexpr,
    BLOCK_N: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Write the attention to a part of the keys of a KV head; the last part is the window.

    Each of BLOCK_N rows has a running maximum of its own, so that nothing in the loop waits for
    another warp; they are brought together once, at the end.
    """
    part, parts = tl.program_id(0), tl.num_programs(0)
    row = tl.program_id(1).to(tl.int64)  # of batch x kv_heads
    query += row * GROUP * DIM
    if part == parts - 1:
        _window(
            query, window_key + row * window * DIM, window_value + row * window * DIM,
            partial, lse, row * GROUP, part, parts, scale_log2, window, GROUP, DIM, WINDOW,
        )  # fmt: skip
    else:
        n, c = tl.arange(0, BLOCK_N), tl.arange(0, DIM // 8)
        end = tl.minimum(keys, (part + 1) * length)
        largest, total, m0 = empty(GROUP, BLOCK_N, DIM // 8)
        m1, m2, m3, m4, m5, m6, m7 = m0, m0, m0, m0, m0, m0, m0
        key_bits += row * keys * (DIM // 8)
        value_bits += row * keys * (DIM // 8)
        key_values += row * keys * KEPT
        value_values += row * keys * KEPT
        k_byte = _bits(key_bits, part * length, end, DIM, BLOCK_N)
        v_byte = _bits(value_bits, part * length, end, DIM, BLOCK_N)
        for start in range(part * length, end, BLOCK_N):
            at = (start + n)[:, None] * KEPT
            inside = start + n < end
            k_next = _bits(key_bits, start + BLOCK_N, end, DIM, BLOCK_N)
            v_next = _bits(value_bits, start + BLOCK_N, end, DIM, BLOCK_N)
            # Places of a row are near one another; the hint keeps them with neighbouring threads
            # in Triton 3.6. They are not aligned, so that no load gets wider by it.
            k_at = tl.max_contiguous(at + _ones_before(k_byte), [1, 2])
            v_at = tl.max_contiguous(at + _ones_before(v_byte), [1, 2])
            scores = _scores(query, key_values, k_byte, k_at, GROUP, DIM, BLOCK_N) * scale_log2
            scores = tl.where(inside[None, :], scores, float("-inf"))
            top = tl.maximum(largest, scores)
            p, old = tl.exp2(scores - top), tl.exp2(largest - top)
            total, largest = total * old + p, top
            m0, v_at = _mix(m0, old, p, value_values, v_at, v_byte, 0)
            m1, v_at = _mix(m1, old, p, value_values, v_at, v_byte, 1)
            m2, v_at = _mix(m2, old, p, value_values, v_at, v_byte, 2)
            m3, v_at = _mix(m3, old, p, value_values, v_at, v_byte, 3)
            m4, v_at = _mix(m4, old, p, value_values, v_at, v_byte, 4)
            m5, v_at = _mix(m5, old, p, value_values, v_at, v_byte, 5)
            m6, v_at = _mix(m6, old, p, value_values, v_at, v_byte, 6)
            m7, v_at = _mix(m7, old, p, value_values, v_at, v_byte, 7)
            k_byte, v_byte = k_next, v_next
        top = tl.max(largest, 1)
        weight = tl.exp2(largest - top[:, None])
        total = tl.sum(total * weight, 1)
        weight = (weight / total[:, None])[:, :, None]
        out = (row * GROUP + tl.arange(0, GROUP)) * parts + part
        tl.store(lse + out, top + tl.log2(total))
        at = partial + out[:, None] * DIM + c[None, :] * 8
        tl.store(at, tl.sum(m0 * weight, 1))
        tl.store(at + 1, tl.sum(m1 * weight, 1))
        tl.store(at + 2, tl.sum(m2 * weight, 1))
        tl.store(at + 3, tl.sum(m3 * weight, 1))
        tl.store(at + 4, tl.sum(m4 * weight, 1))
        tl.store(at + 5, tl.sum(m5 * weight, 1))
        tl.store(at + 6, tl.sum(m6 * weight, 1))
        tl.store(at + 7, tl.sum(m7 * weight, 1))
