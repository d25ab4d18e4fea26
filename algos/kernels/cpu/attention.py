"""Attention of what pruning leaves: gathered tokens or heads, by torch's own dense attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def gathered_attention(
    query: Tensor, key: Tensor, value: Tensor, tokens: Tensor | None, heads: Tensor | None
) -> Tensor:
    """Return the attention of some tokens and heads; gathering them is part of the work.

    Args:
        query: (batch, heads, queries, dim); with as many queries as keys, only those of the
            tokens are computed, else all.
        key, value: (batch, heads, keys, dim).
        tokens: (kept,) int64, ascending; None: all.
        heads: (kept,) int64, ascending; None: all.
    """
    from torch.nn.functional import scaled_dot_product_attention

    if heads is not None:
        query, key, value = (t.index_select(1, heads) for t in (query, key, value))
    if tokens is not None:
        if query.shape[2] == key.shape[2]:
            query = query.index_select(2, tokens)
        key, value = key.index_select(2, tokens), value.index_select(2, tokens)
    return scaled_dot_product_attention(query, key, value)


def attention_flops(sizes: Sequence[int], keys: int) -> float:
    """Return the operations of an attention, 2 a multiply-add; sizes are those of the query."""
    batch, heads, queries, dim = sizes
    return 4.0 * batch * heads * queries * keys * dim
