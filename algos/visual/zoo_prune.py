"""ZOO-Prune: tokens whose small changes the projector passes on, and that are not alike.

Kim et al., CVPR 2026, arXiv:2509.24837.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.greedy import cosine, greedy
from algos.visual.ranking import finite, unit_range

if TYPE_CHECKING:
    from torch import Generator, Tensor


class ZOOPrune(VisualMethod):
    """Keep visual tokens to whose changes the projector is sensitive and that are not alike.

    From the description: sensitivity is a change of the projector's output under random
    perturbations, estimated without gradients, and is combined with diversity. That they are
    multiplied, and the number and length of perturbations, are assumptions.
    """

    name: ClassVar[str] = "zoo-prune"
    signal: ClassVar[str] = "sensitivity of the projector times distance to what is kept"
    paper: ClassVar[str] = "Kim et al., CVPR 2026, arXiv:2509.24837"
    parity: ClassVar[Parity] = "description"

    directions: Annotated[int, Field(ge=1)] = 64
    """Random directions that each token is moved in; an estimate."""
    step: Annotated[float, Field(gt=0)] = 0.01
    """Length of a move, in units of the encoder's features; an estimate."""

    def select(self, seen: VisualInput) -> Selected:
        """Measure the projector, then pick greedily."""
        score = sensitivity(
            seen.encoder_features, seen.project, seen.generators, self.directions, self.step
        )
        k = self.kept(seen.features.shape[1])
        return Selected(kept=sensitive_and_diverse(score, seen.features, k).sort(1).values)


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
    norms = []
    for x, generator in zip(encoder_features, generators, strict=True):
        drawn = torch.randn((directions, *x.shape), generator=generator)
        change = step * normalize(drawn, dim=-1)
        norms.append((project(x + change) - project(x - change)).norm(dim=-1).mean(0))
    return finite(torch.stack(norms) / (2 * step), "sensitivity")


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
