"""Attention over sinks and a window of recent tokens by its rule, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algos.kernels.dense_decode.naive import attention
from algos.kernels.nibbles.words import unpack

if TYPE_CHECKING:
    from torch import Tensor


def decode(inputs: Any, context: int, sinks: int, window: int) -> Tensor:
    """Return softmax(q K^T / sqrt(dim)) V over the first and the latest tokens.

    Args:
        inputs: operands of `lambda-kv4-decode`.
        context: tokens so far.
        sinks: first tokens that are read.
        window: latest tokens that are read.

    Returns:
        (batch, heads, dim) float64.
    """
    slots = [slot_of(token, sinks, window) for token in tokens_read(context, sinks, window)]
    key, value = values_of(inputs)
    return attention(inputs["query"], key[:, :, slots], value[:, :, slots])


def tokens_read(context: int, sinks: int, window: int) -> list[int]:
    """Return the positions of the tokens that the newest query reads."""
    recent = range(max(context - window, 0), context)
    return sorted({*range(min(sinks, context)), *recent})


def slot_of(token: int, sinks: int, window: int) -> int:
    """Return where a token lies: sinks first, behind them a ring."""
    return token if token < sinks else sinks + (token - sinks) % window


def values_of(inputs: Any) -> tuple[Tensor, Tensor]:
    """Return K and V of all slots, (batch, kv_heads, slots, dim) float64."""
    import torch

    scales = inputs["scales"].view(torch.float16).double()  # of K, of V, a token after the other
    zeros = unpack(inputs["zeros"]).double()[..., : scales.shape[-1]]
    key, value = (
        (unpack(inputs[name]) - zeros[..., place::2, None]) * scales[..., place::2, None]
        for place, name in enumerate(("key", "value"))
    )
    return key, value
