"""CATP: contextual pruning of image tokens in two stages.

Li et al., AAAI 2026, arXiv:2508.07871.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Parity
from algos.token.base import Between
from algos.token.cuts import VisualCuts, seen
from algos.token.shared import cosine, cut_layers, shares, staged_counts

if TYPE_CHECKING:
    from torch import Tensor

DROPS = (1 / 2, 1.0)  # an estimate
SHALLOW = 1 / 4  # share of the depth: an estimate


class CATP(VisualCuts):
    """Drop visual tokens that fit no text or resemble others, then those the text ignores.

    From the description, which gives two stages, diversity and alignment with text before the
    first layer and context in shallow layers, but no scores. Assumed: the best cosine with a text
    token plus the mean distance from the other visual tokens, as shares; at a quarter of the depth
    the mean attention of the tokens after the visual ones. Each stage drops as many tokens.
    """

    name: ClassVar[str] = "catp"
    signal: ClassVar[str] = "similarity to text and diversity; then attention of text"
    paper: ClassVar[str] = "Li et al., AAAI 2026, arXiv:2508.07871"
    parity: ClassVar[Parity] = "description"

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut before the first layer and in a shallow one."""
        first, second = staged_counts(DROPS, self.keep_ratio, n)
        return {0: first, cut_layers((SHALLOW,), layers)[0]: second}

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the score of the stage."""
        if entry.layer == 0:
            return context_score(entry.hidden, where)
        return seen(entry).outcome.probability[:, :, where.stop :, where].mean((1, 2))


def context_score(hidden: Tensor, visual: slice) -> Tensor:
    """Return alignment and diversity of each visual token, (batch, visual).

    Args:
        hidden: (batch, token, hidden) as they enter the language model.
        visual: where the visual tokens are; the others are text.
    """
    import torch

    image = hidden[:, visual]
    text = torch.cat([hidden[:, : visual.start], hidden[:, visual.stop :]], 1)
    alignment = (1 + cosine(image, text).amax(2)) / 2
    distance = (1 - cosine(image, image)).mean(2).clamp_min(0)
    return shares(alignment) + shares(distance)
