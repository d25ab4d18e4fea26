"""The exact k-th largest number of a row that one block holds in its registers.

Bisection of the value, as integers in the order of the numbers: 13 to 18 counts for 1,024 to
32,768 scores without ties, at most 32. A count is three operations a number; a digit's histogram
would be over twenty.
"""

import triton
import triton.language as tl

NOTHING = tl.constexpr(-(2**31))  # below all numbers but NaN


@triton.jit
def ordered(x):
    """Return float32 numbers as int32 in the same order; both zeros are one."""
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def kth_largest(keys, count, k):
    """Return a threshold, and how many keys are above it and how many equal ones to keep.

    The k largest are all keys above the threshold, and so many equal to it.

    Args:
        keys: of `ordered`, `NOTHING` where there is no number.
        count: numbers.
        k: 1 to `count`.
    """
    low = tl.min(tl.where(keys == NOTHING, 2**31 - 1, keys), 0).to(tl.int64)  # all are at least
    high = tl.max(keys, 0).to(tl.int64) + 1  # none is
    at_low = count
    while (high - low > 1) & (at_low != k):
        middle = low + (high - low) // 2
        at_middle = tl.sum((keys >= middle.to(tl.int32)).to(tl.int32), 0)
        enough = at_middle >= k
        at_low = tl.where(enough, at_middle, at_low)
        low = tl.where(enough, middle, low)
        high = tl.where(enough, high, middle)
    threshold = low.to(tl.int32)
    above = tl.sum((keys > threshold).to(tl.int32), 0)
    return threshold, above, k - above


@triton.jit
def kept_places(keys, threshold, equal, above_before, equal_before):
    """Return which keys of a chunk are kept, their places, and the counts after it.

    Args:
        keys: of `ordered`, a power of 2 up to 32,768 of them.
        threshold: of `kth_largest`.
        equal: keys to keep that equal it.
        above_before, equal_before: keys above it and equal to it in chunks before.
    """
    above = (keys > threshold).to(tl.int32)
    same = (keys == threshold).to(tl.int32)
    upto = tl.cumsum(above | (same << 16), 0).to(tl.uint32, bitcast=True)  # both in one scan
    above_upto = above_before + (upto & 0xFFFF).to(tl.int32)
    equal_upto = equal_before + (upto >> 16).to(tl.int32)
    kept = (above == 1) | ((same == 1) & (equal_upto <= equal))
    places = above_upto + tl.minimum(equal_upto, equal) - 1
    return kept, places, above_before + tl.sum(above, 0), equal_before + tl.sum(same, 0)
