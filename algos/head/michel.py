"""Head importance: what the loss would feel of a head's gate.  Michel et al., arXiv 1905.10650."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def head_importance(context: Tensor, gradient: Tensor) -> Tensor:
    """Return the importance (heads,): mean over tokens of |context . gradient|.

    Args:
        context: (tokens, heads, head_dim) what the heads give to the output projection.
        gradient: of the loss by the context, as `context`.
    """
    felt: Tensor = (context * gradient).sum(-1)
    return felt.abs().mean(0)


def normalised(importance: Tensor) -> Tensor:
    """Return importances (layers, heads) divided by the L2 norm of their layer."""
    norm: Tensor = importance.norm(dim=1, keepdim=True)
    return importance / norm.clamp_min(1e-30)


def stepwise(
    importance_of: Callable[[Tensor], Tensor], layers: int, heads: int, keep: int, step: float
) -> Tensor:
    """Return the heads kept (layers, heads), pruned a share of all heads at a time.

    Before each step the importance is measured again without the heads pruned so far. The least
    important go first, of equals the later one.

    Args:
        importance_of: importances (layers, heads) of the model with these heads.
        layers: of the model.
        heads: of a layer.
        keep: heads kept in all.
        step: share of all heads pruned at a time.
    """
    import torch

    from algos.structured.budget import check_scores

    mask = torch.ones(layers, heads, dtype=torch.bool)
    left, at_once = layers * heads, max(1, round(step * layers * heads))
    while left > keep:
        left = max(keep, left - at_once)
        score = importance_of(mask)
        check_scores(score, score[:, :0])
        score = score.masked_fill(~mask, -torch.inf).flatten()
        mask = torch.zeros(layers * heads, dtype=torch.bool)
        mask[score.argsort(descending=True, stable=True)[:left]] = True
        mask = mask.view(layers, heads)
    return mask
