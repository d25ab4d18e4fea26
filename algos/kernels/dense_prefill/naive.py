"""Attention by its formula, in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def attention(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Return softmax(Q K^T / sqrt(dim)) V.

    Args:
        query: (batch, heads, queries, dim).
        key, value: (batch, kv_heads, keys, dim); query heads share them in order.
        causal: a query sees no key behind it; the last query sees all.

    Returns:
        (batch, heads, queries, dim) float64.
    """
    return probabilities(query, key, causal) @ repeated(value, query.shape[1])


def probabilities(query: Tensor, key: Tensor, causal: bool) -> Tensor:
    """Return (batch, heads, queries, keys) float64; arguments as in `attention`."""
    scores = query.double() @ repeated(key, query.shape[1]).mT / math.sqrt(query.shape[-1])
    if causal:
        queries, keys = scores.shape[-2:]
        behind = scores.new_ones(queries, keys).triu(keys - queries + 1).bool()
        scores = scores.masked_fill(behind, -math.inf)
    return scores.softmax(-1)


def repeated(tensor: Tensor, heads: int) -> Tensor:
    """Return K or V of each query head in float64."""
    return tensor.double().repeat_interleave(heads // tensor.shape[1], dim=1)
