"""Torch's own attention, beside which dense kernels are timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def attention_call(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Callable[[], Tensor]:
    """Return a call of `scaled_dot_product_attention`, which picks its fastest kernel.

    Args:
        query: (batch, heads, queries, dim).
        key, value: (batch, kv_heads, keys, dim).
        causal: the last query sees all keys. Torch's own flag aligns the first ones, so it is
            used only where there are as many queries as keys; else a mask is given.
    """
    from torch.nn.functional import scaled_dot_product_attention

    queries, keys = query.shape[-2], key.shape[-2]
    mask = None
    if causal and 1 < queries < keys:
        mask = query.new_ones(queries, keys).tril(keys - queries).bool()
    return lambda: scaled_dot_product_attention(
        *(query, key, value, mask),
        is_causal=causal and queries == keys,
        enable_gqa=query.shape[1] != key.shape[1],
    )
