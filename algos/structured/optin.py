"""OPTIN: a structure is worth what later layers lose without it.

Khaki and Plataniotis, ICLR 2024, arXiv 2403.17921: the error between the hidden states of the
model with and without the structure, along the layers that follow (the trajectory).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def relations(hidden: Tensor) -> Tensor:
    """Return the cosines (samples, tokens, tokens) between the tokens of (samples, tokens, h)."""
    from torch.nn.functional import normalize

    unit = normalize(hidden, dim=-1)
    return unit @ unit.transpose(1, 2)


def trajectory_error(dense: Tensor, pruned: Tensor) -> float:
    """Return the mean squared difference of the tokens' relations, summed over layers.

    Args:
        dense: (layers, samples, tokens, hidden) after each of the layers that follow.
        pruned: the same without the structure.
    """
    pairs = zip(dense, pruned, strict=True)
    return float(sum((relations(a) - relations(b)).square().mean() for a, b in pairs))
