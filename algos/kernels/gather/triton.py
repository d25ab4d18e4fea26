"""Rows of Q, K and V by lists of ids.

A place past the end of a list repeats its last id: no row is loaded that is not listed, loads need
no mask, and the scores of such places are masked.
"""

import triton
import triton.language as tl


@triton.jit
def listed(ids_at, at, count, MASKED: tl.constexpr):
    """Return the ids at places of a list of `count`; not MASKED: all places are in the list."""
    return tl.load(ids_at + (tl.minimum(at, count - 1) if MASKED else at))


@triton.jit
def listed_scores(
    q, keys_at, ids_at, at, m, count,
    DIM: tl.constexpr, CAUSAL: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Return unscaled scores of listed keys, -inf where a query does not see a key, and the ids.

    The queries are listed by the same ids, at places m; ids ascend, so places are in order of time.
    """
    ids = listed(ids_at, at, count, MASKED)
    k = tl.load(keys_at + ids[None, :] * DIM)
    scores = tl.dot(q, k)
    if MASKED:
        seen = at[None, :] < count
        if CAUSAL:
            seen = at[None, :] <= tl.minimum(m, count - 1)[:, None]
        scores = tl.where(seen, scores, float("-inf"))
    return scores, ids
