"""Eight 4-bit codes of an int32 word as float32 numbers."""

import triton
import triton.language as tl

from algos.kernels.decode.triton import in_turn


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
