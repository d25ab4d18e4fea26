"""IDPruner: importance against similarity to what is already kept (maximal marginal relevance).

Tan et al., arXiv:2602.13315. Released with Tencent's AngelSlim, function `idpruner`; there
importance comes from a trained selector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.greedy import cosine, greedy
from algos.visual.ranking import EncoderLayer, class_attention, finite, layer_of, unit_range

if TYPE_CHECKING:
    from torch import Tensor


class IDPruner(VisualMethod):
    """Keep visual tokens that are important and unlike those already kept.

    Differs from the released program: its importance comes from a trained selector, for which the
    attention of the class token stands here; the number kept is rounded down.
    """

    name: ClassVar[str] = "idpruner"
    signal: ClassVar[str] = "importance less similarity to what is kept"
    paper: ClassVar[str] = "Tan et al., arXiv:2602.13315"
    training: ClassVar[str] = "a selector; class attention stands for its scores"
    parity: ClassVar[Parity] = "authors"

    importance_weight: Fraction = 0.5
    """Weight of importance; the rest is that of diversity."""
    at_once: Annotated[int, Field(ge=1)] = 1
    """Tokens picked in one round; more is faster and picks others."""
    layer: EncoderLayer = -2
    """Layer of the vision encoder whose class attention is the importance."""

    def select(self, seen: VisualInput) -> Selected:
        """Pick greedily by marginal relevance."""
        picks = relevant(
            class_attention(layer_of(seen.attention, self.layer)),
            seen.features,
            self.kept(seen.features.shape[1]),
            self.importance_weight,
            self.at_once,
        )
        return Selected(kept=picks.sort(1).values)


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
