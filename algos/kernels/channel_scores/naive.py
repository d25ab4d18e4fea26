"""Attention whose scores use some channels, by its rule, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algos.kernels.dense_decode.naive import mix
from algos.kernels.dense_prefill.naive import repeated

if TYPE_CHECKING:
    from torch import Tensor


def decode(inputs: Any, keys: int, compact: bool) -> Tensor:
    """Return softmax(q' K'^T / sqrt(dim)) V, q' and K' without the channels left out.

    Args:
        inputs: operands of `channel-scores`.
        keys: of K; what lies behind them in a row is filling.
        compact: K has the kept channels only, in their order.

    Returns:
        (batch, heads, dim) float64.
    """
    query, key, channels = inputs["query"], inputs["key"][..., :keys], inputs["channels"].long()
    heads, dim = query.shape[1:]
    if not compact:
        key = key.gather(2, channels[..., None].expand(-1, -1, -1, keys))
    of_head = channels.repeat_interleave(heads // channels.shape[1], dim=1)
    kept = query.double().gather(-1, of_head)
    scores = (kept[..., None, :] @ repeated(key, heads)).squeeze(-2) / dim**0.5
    return mix(scores.softmax(-1), inputs["value"])
