"""ToDRE, stage 1: from the token the class token looks at most, always the least similar next.

Li et al., arXiv:2505.18757, second version: max-sum diversification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity, Ratio
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.greedy import cosine, greedy
from algos.visual.ranking import EncoderLayer, class_attention, finite, layer_of

if TYPE_CHECKING:
    from torch import Tensor


class ToDREDiversity(VisualMethod):
    """Keep the pivot of the class token and what is least similar to all that is kept.

    From the description: stage 1 of ToDRE, which drops all visual tokens in a late layer of the
    language model as stage 2. No program is released; the layer of the class attention is an
    assumption.
    """

    name: ClassVar[str] = "todre-diversity"
    signal: ClassVar[str] = "sum of similarities to the tokens kept"
    paper: ClassVar[str] = "Li et al., arXiv:2505.18757"
    parity: ClassVar[Parity] = "description"

    keep_ratio: Ratio = 0.1
    """Visual tokens kept, rounded down, at least 1."""
    layer: EncoderLayer = -2
    """Layer of the vision encoder whose class attention chooses the pivot."""

    def select(self, seen: VisualInput) -> Selected:
        """Pick greedily from the pivot."""
        pivot = class_attention(layer_of(seen.attention, self.layer))
        k = self.kept(seen.features.shape[1])
        return Selected(kept=diversified(pivot, seen.features, k).sort(1).values)


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
