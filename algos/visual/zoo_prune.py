"""ZOO-Prune: tokens whose small changes the projector passes on, and that are not alike.

Kim et al., CVPR 2026, arXiv:2509.24837.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from algos.visual.greedy import cosine, greedy
from algos.visual.ranking import finite, unit_range

if TYPE_CHECKING:
    from torch import Generator, Tensor


def sensitivity(
    encoder_features: Tensor,
    project: Callable[[Tensor], Tensor],
    generators: Sequence[Generator],
    directions: int = 64,
    step: float = 0.01,
) -> Tensor:
    """Return how much the projector passes on of random changes of each token, (batch, N).

    The mean over random unit directions u of |p(x + step u) - p(x - step u)| / (2 step): a
    zeroth-order estimate that needs no gradient.

    Args:
        encoder_features: (batch, N, h) before the projector.
        project: the projector, (batch, N, h) to (batch, N, d).
        generators: one an image.
        directions: drawn for each token.
        step: length of a change, in units of the features.
    """
    import torch
    from torch.nn.functional import normalize

    finite(encoder_features, "encoder features")
    total = encoder_features.new_zeros(encoder_features.shape[:2])
    for _ in range(directions):
        drawn = [torch.randn(encoder_features.shape[1:], generator=g) for g in generators]
        change = step * normalize(torch.stack(drawn), dim=-1)
        difference = project(encoder_features + change) - project(encoder_features - change)
        total += difference.norm(dim=-1)
    return finite(total / (2 * step * directions), "sensitivity")


def sensitive_and_diverse(score: Tensor, features: Tensor, k: int) -> Tensor:
    """Return k tokens of each image in the order picked, (batch, k).

    The first is the most sensitive one, then always the largest product of sensitivity, scaled
    to 0..1, and distance (1 - cosine) to the nearest token picked.

    Args:
        score: (batch, N) sensitivity.
        features: (batch, N, d) as the language model gets them.
        k: tokens to keep.
    """
    import torch

    scaled = unit_range(finite(score, "sensitivity"))
    distance = (1 - cosine(features)).clamp_min(0)
    return greedy(scaled, distance, k, torch.minimum, lambda nearest: scaled * nearest)
