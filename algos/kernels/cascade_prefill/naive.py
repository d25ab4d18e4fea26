"""Attention among kept tokens and heads by its formula, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.kernels.dense_prefill.naive import probabilities, repeated

if TYPE_CHECKING:
    from torch import Tensor


def cascade(
    query: Tensor, key: Tensor, value: Tensor, token_ids: Tensor, head_ids: Tensor, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return results of what is kept, importance of kept tokens, and of kept heads.

    Args:
        query: (batch, heads, tokens, dim).
        key, value: (batch, kv_heads, tokens, dim).
        token_ids: (batch, kept) ascending.
        head_ids: (batch, kept heads) ascending.
        causal: a query sees no key behind it.

    Returns:
        (batch, kept heads, kept, dim), (batch, kept) and (batch, kept heads), float64.
    """
    import torch

    results, tokens, heads = [], [], []
    for one, kept in enumerate(token_ids.long()):
        chosen = head_ids[one].long()
        q = query[one, chosen][:, kept][None]
        k = repeated(key[one, None], query.shape[1])[:, chosen][:, :, kept]
        v = repeated(value[one, None], query.shape[1])[:, chosen][:, :, kept]
        p = probabilities(q, k, causal)
        results.append((p @ v)[0])
        tokens.append(p.sum((0, 1, 2)))
        heads.append(results[-1].abs().sum((1, 2)))
    return torch.stack(results), torch.stack(tokens), torch.stack(heads)
