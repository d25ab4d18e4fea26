"""Unpack the cache, then attend, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.kernels.bitmap_decode.storage import unpack
from algos.kernels.dense_prefill.naive import attention

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def decode(operands: Mapping[str, Tensor]) -> Tensor:
    """Return (batch, heads, dim) float64 of one query over the packed cache and the window."""
    import torch

    key = unpack(operands["key_bits"], operands["key_values"])
    value = unpack(operands["value_bits"], operands["value_values"])
    key = torch.cat((key, operands["window_key"]), 2)
    value = torch.cat((value, operands["window_value"]), 2)
    return attention(operands["query"][:, :, None], key, value, causal=False)[:, :, 0]
