"""AgilePruner: attention chooses in simple images, diversity in complex ones.

Baek et al., ICLR 2026, arXiv:2603.01236.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.selection import best_first
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.greedy import cosine, greedy, nearest_other
from algos.visual.ranking import EncoderLayer, class_attention, finite, layer_of

if TYPE_CHECKING:
    from torch import Tensor


class AgilePruner(VisualMethod):
    """Keep the most attended visual tokens of simple images and the most diverse of complex ones.

    From the description: effective rank of the features and entropy of the class attention tell
    how complex an image is; no program is released. That the mean of the two, each as a share of
    its largest value, is the share of the budget that diversity chooses is an assumption.
    """

    name: ClassVar[str] = "agile-pruner"
    signal: ClassVar[str] = "class attention and distance, mixed by effective rank and entropy"
    paper: ClassVar[str] = "Baek et al., ICLR 2026, arXiv:2603.01236"
    parity: ClassVar[Parity] = "description"

    layer: EncoderLayer = -2
    """Layer of the vision encoder whose class attention is read."""

    def select(self, seen: VisualInput) -> Selected:
        """Measure each image, then share its budget."""
        attention = class_attention(layer_of(seen.attention, self.layer))
        picks = attended_then_diverse(
            seen.features,
            attention,
            self.kept(seen.features.shape[1]),
            complexity(seen.features, attention),
        )
        return Selected(kept=picks.sort(1).values)


def effective_rank(features: Tensor) -> Tensor:
    """Return exp(entropy) of the singular values of (batch, N, d), as shares: (batch,), >= 1."""
    import torch

    values = torch.linalg.svdvals(finite(features, "features"))
    return _entropy(values).exp()


def complexity(features: Tensor, attention: Tensor) -> Tensor:
    """Return how complex each image is, (batch,), 0 for one pattern, 1 for all different.

    The mean of effective rank, scaled from 1..min(N, d), and of the entropy of the class
    attention, scaled from 0..ln N.

    Args:
        features: (batch, N, d).
        attention: (batch, N) class attention.
    """
    tokens, channels = features.shape[1:]
    if min(tokens, channels) == 1:
        return features.new_zeros(len(features))
    rank = (effective_rank(features) - 1) / (min(tokens, channels) - 1)
    spread = _entropy(finite(attention, "class attention")) / math.log(tokens)
    return ((rank + spread) / 2).clamp(0, 1)


def attended_then_diverse(features: Tensor, attention: Tensor, k: int, diverse: Tensor) -> Tensor:
    """Return k tokens of each image, the most attended ones and then the farthest, (batch, k).

    Args:
        features: (batch, N, d) as the language model gets them.
        attention: (batch, N) class attention.
        k: tokens to keep.
        diverse: (batch,) share of the k that diversity chooses.
    """
    import torch

    rank = best_first(finite(attention, "class attention"), attention.shape[1]).argsort(1)
    attended = rank < (k - (diverse * k).round())[:, None]
    distance = 1 - cosine(features)

    def attended_first(nearest: Tensor) -> Tensor:
        return nearest.masked_fill(attended, torch.inf)

    start = attended_first(nearest_other(distance))
    return greedy(start, distance, k, torch.minimum, attended_first)


def _entropy(weight: Tensor) -> Tensor:
    """Return the entropy in nats of each row of (batch, n), taken as shares of its sum."""
    import torch

    share = weight / weight.sum(1, keepdim=True).clamp_min(1e-30)
    entropy: Tensor = torch.special.entr(share).sum(1)
    return entropy
