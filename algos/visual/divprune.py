"""DivPrune: the visual tokens that are farthest from each other.

Alvar et al., CVPR 2025, arXiv:2503.02175: a greedy solution of the max-min diversity problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.visual.greedy import cosine, greedy, nearest_other

if TYPE_CHECKING:
    from torch import Tensor


def farthest(features: Tensor, k: int) -> Tensor:
    """Return k tokens of each image in the order picked, (batch, k).

    The first is the one whose nearest other token is farthest, then always the one whose nearest
    picked token is farthest; distance is 1 - cosine.

    Args:
        features: (batch, N, d) as the language model gets them.
        k: tokens to keep.
    """
    import torch

    distance = 1 - cosine(features)
    return greedy(nearest_other(distance), distance, k, torch.minimum, lambda nearest: nearest)
