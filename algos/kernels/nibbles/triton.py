"""Eight 4-bit codes of an int32 word as float32 numbers."""

import triton
import triton.language as tl


@triton.jit
def lift(words, one, PLACE: tl.constexpr):
    """Return 1 + code / 16 of the codes at a place of int32 words, 0 to 7.

    A shift and a logic operation put a code into the mantissa of 1.0; a conversion of an integer
    has half the rate or less.
    """
    left: tl.constexpr = 19 - 4 * PLACE
    moved = words << left if left > 0 else words >> -left
    return ((moved & 0x00780000) | one).to(tl.float32, bitcast=True)


@triton.jit
def lifted(words):
    """Return 1 + code / 16 of (a, b, c, words): (a, b, c, 8 words), all of a word in one thread."""
    # The bits of 1.0 in a register that the compiler does not know (the third program id is 0):
    # of two constants it makes two operations, not one.
    one = 0x3F800000 + tl.program_id(2)
    return in_turn(
        lift(words, one, 0), lift(words, one, 1), lift(words, one, 2), lift(words, one, 3),
        lift(words, one, 4), lift(words, one, 5), lift(words, one, 6), lift(words, one, 7),
    )  # fmt: skip


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
