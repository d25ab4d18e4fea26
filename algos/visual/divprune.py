"""DivPrune: the visual tokens that are farthest from each other.

Alvar et al., CVPR 2025, arXiv:2503.02175: a greedy solution of the max-min diversity problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity, Ratio
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.greedy import cosine, greedy, nearest_other

if TYPE_CHECKING:
    from torch import Tensor


class DivPrune(VisualMethod):
    """Keep the visual tokens that are farthest from each other.

    Differs from the authors' program: a token is never picked twice, as theirs does once only
    duplicates are left, and the number kept is rounded down, not to the nearest.
    """

    name: ClassVar[str] = "divprune"
    signal: ClassVar[str] = "distance to the nearest token kept"
    paper: ClassVar[str] = "Alvar et al., CVPR 2025, arXiv:2503.02175"
    parity: ClassVar[Parity] = "authors"

    keep_ratio: Ratio = 0.098
    """Visual tokens kept, rounded down, at least 1."""

    def select(self, seen: VisualInput) -> Selected:
        """Pick greedily among the features that the language model gets."""
        k = self.kept(seen.features.shape[1])
        return Selected(kept=farthest(seen.features, k).sort(1).values)


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
