"""Local value pruning by its rule, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.kernels.dense_decode.naive import mix, scores

if TYPE_CHECKING:
    from torch import Tensor


def attention(query: Tensor, key: Tensor, value: Tensor, kept: int) -> Tensor:
    """Return the V rows of the `kept` largest probabilities, weighted; not renormalised.

    Arguments and result are as in `dense_decode.naive.attention`.
    """
    of_key = scores(query, key)
    return over(of_key, value, kept_keys(of_key, kept))


def kept_keys(of_key: Tensor, kept: int) -> Tensor:
    """Return (batch, heads, kept): the largest scores' keys, the lowest first among equals."""
    order = of_key.sort(dim=-1, descending=True, stable=True).indices
    return order[..., :kept].sort(-1).values


def over(of_key: Tensor, value: Tensor, keys: Tensor) -> Tensor:
    """Return what some V rows give, weighted by their probabilities among all keys."""
    import torch

    chosen = torch.zeros_like(of_key).scatter(-1, keys.long(), 1.0)
    return mix(of_key.softmax(-1) * chosen, value)
