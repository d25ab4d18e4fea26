"""Attention by lists of key blocks, by its formula, in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from algos.kernels.dense_prefill.naive import repeated

if TYPE_CHECKING:
    from torch import Tensor


def mask_of(
    blocks: Tensor, counts: Tensor, queries: int, keys: int, size: tuple[int, int], causal: bool
) -> Tensor:
    """Return which keys each query sees, (batch, heads, queries, keys) bool.

    Args:
        blocks: (batch, heads, query blocks, kept) places of key blocks.
        counts: (batch, heads, query blocks) how many of them are used.
        queries, keys: of a head.
        size: queries and keys of a block.
        causal: a query sees no key behind it; the last query sees all.
    """
    import torch

    columns, device = -(-keys // size[1]), blocks.device
    listed = torch.zeros(*blocks.shape[:3], columns + 1, dtype=torch.bool, device=device)
    unused = torch.arange(blocks.shape[3], device=device) >= counts[..., None]
    listed.scatter_(3, blocks.long().masked_fill(unused, columns), True)
    seen = listed[..., :columns].repeat_interleave(size[1], 3)[..., :keys]
    seen = seen.repeat_interleave(size[0], 2)[:, :, :queries]
    if causal:
        seen = seen & seen.new_ones(queries, keys).tril(keys - queries)
    return seen


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return softmax(Q K^T / sqrt(dim)) V among the keys of a mask; 0 for a query without any.

    Args:
        query: (batch, heads, queries, dim).
        key, value: (batch, kv_heads, keys, dim); query heads share them in order.
        mask: (batch, heads, queries, keys).

    Returns:
        (batch, heads, queries, dim) float64.
    """
    scores = query.double() @ repeated(key, query.shape[1]).mT / math.sqrt(query.shape[-1])
    p = scores.masked_fill(~mask, -math.inf).softmax(-1).nan_to_num(0.0)
    return p @ repeated(value, query.shape[1])
