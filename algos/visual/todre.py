"""ToDRE, stage 1: from the token the class token looks at most, always the least similar next.

arXiv:2505.18757, second version: max-sum diversification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.visual.greedy import cosine, greedy
from algos.visual.ranking import finite

if TYPE_CHECKING:
    from torch import Tensor


def diversified(pivot: Tensor, features: Tensor, k: int) -> Tensor:
    """Return k tokens of each image in the order picked, (batch, k).

    The first is the largest of `pivot`, then always the token whose cosines to all tokens
    picked have the smallest sum.

    Args:
        pivot: (batch, N) class attention.
        features: (batch, N, d) as the language model gets them.
        k: tokens to keep.
    """
    import torch

    pairs = cosine(features)
    return greedy(finite(pivot, "class attention"), pairs, k, torch.add, lambda total: -total)
