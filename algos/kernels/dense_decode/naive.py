"""Attention of one query by its formula, in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from algos.kernels.dense_prefill.naive import repeated

if TYPE_CHECKING:
    from torch import Tensor


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(q K^T / sqrt(dim)) V.

    Args:
        query: (batch, heads, dim).
        key, value: (batch, kv_heads, keys, dim); query heads share them in order.

    Returns:
        (batch, heads, dim) float64.
    """
    return mix(scores(query, key).softmax(-1), value)


def scores(query: Tensor, key: Tensor) -> Tensor:
    """Return q K^T / sqrt(dim), (batch, heads, keys) float64."""
    of_head = repeated(key, query.shape[1])
    return (of_head @ query.double().unsqueeze(-1)).squeeze(-1) / math.sqrt(query.shape[-1])


def mix(probability: Tensor, value: Tensor) -> Tensor:
    """Return V weighted by (batch, heads, keys)."""
    of_head = repeated(value, probability.shape[1])
    return (probability.double().unsqueeze(-2) @ of_head).squeeze(-2)
