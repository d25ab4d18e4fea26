"""IDPruner: importance against similarity to what is already kept (maximal marginal relevance).

Released with AngelSlim, function `idpruner`; there importance comes from a trained selector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.visual.greedy import cosine, greedy
from algos.visual.ranking import finite, unit_range

if TYPE_CHECKING:
    from torch import Tensor


def relevant(
    importance: Tensor, features: Tensor, k: int, weight: float = 0.5, at_once: int = 1
) -> Tensor:
    """Return k tokens of each image in the order picked, (batch, k).

    The first is the most important one, then always the largest weight * importance -
    (1 - weight) * largest cosine to a token picked, importance scaled to 0..1.

    Args:
        importance: (batch, N).
        features: (batch, N, d) as the language model gets them.
        k: tokens to keep.
        weight: of importance, in 0..1; the rest is that of diversity.
        at_once: tokens picked in one round, the first round included; more than 1 is faster and
            picks others.
    """
    import torch

    scaled = unit_range(finite(importance, "importance"))
    return greedy(
        scaled,
        cosine(features),
        k,
        torch.maximum,
        lambda closest: weight * scaled - (1 - weight) * closest,
        at_once,
    )
