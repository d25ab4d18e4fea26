"""Recoverable Compression: what vision finds, what the question asks for, and a merged rest.

Chen et al., AAAI 2025, arXiv:2409.01179.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity, Ratio
from algos.selection import best_first
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.clusters import merge_rest
from algos.visual.ranking import EncoderLayer, class_attention, finite, layer_of

if TYPE_CHECKING:
    from torch import Tensor


class RecoverableCompression(VisualMethod):
    """Keep the most attended visual tokens and those like the question, and merge the rest.

    From the description: class attention filters, similarity to the question recovers, nearest
    neighbours cluster the others. The paper sets the numbers by thresholds that follow the scores;
    fixed shares of the budget and the clustering by density peaks are assumptions.
    """

    name: ClassVar[str] = "recoverable"
    signal: ClassVar[str] = "class attention; similarity to the question; nearest neighbours"
    paper: ClassVar[str] = "Chen et al., AAAI 2025, arXiv:2409.01179"
    parity: ClassVar[Parity] = "description"
    trace_kind: ClassVar[str] = "merge map"

    keep_ratio: Ratio = 0.1
    """Visual tokens left, merged ones included, rounded down, at least 1."""
    text_share: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Share of the budget that the question recovers, rounded down; an estimate."""
    merge_share: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Share of the budget for merged tokens, rounded down; an estimate."""
    neighbours: Annotated[int, Field(ge=1)] = 5
    """Tokens, itself included, that a token's density is measured on; an estimate."""
    layer: EncoderLayer = -2
    """Layer of the vision encoder whose class attention is read."""

    def select(self, seen: VisualInput) -> Selected:
        """Filter, recover and merge."""
        attention = class_attention(layer_of(seen.attention, self.layer))
        similarity = question_similarity(seen.features, seen.text)
        k = self.kept(seen.features.shape[1])
        textual, groups = int(self.text_share * k), int(self.merge_share * k)
        kept = recover(attention, similarity, k - textual - groups, textual)
        if not groups:
            return Selected(kept=kept)
        return merge_rest(seen.features, kept, groups, self.neighbours)


def question_similarity(features: Tensor, text: Tensor) -> Tensor:
    """Return the cosine of each visual token to the mean of the question's tokens, (batch, N).

    Args:
        features: (batch, N, d) as the language model gets them.
        text: (batch, T, d) embeddings of the question.
    """
    from torch.nn.functional import cosine_similarity

    question = finite(text, "question embeddings").mean(1, keepdim=True)
    return cosine_similarity(finite(features, "features"), question, dim=-1)


def recover(attention: Tensor, similarity: Tensor, visual: int, textual: int) -> Tensor:
    """Return the tokens kept as they are, ascending, (batch, visual + textual).

    The `visual` most attended ones, then of the others the `textual` most like the question.

    Args:
        attention: (batch, N) class attention.
        similarity: (batch, N) to the question.
        visual: tokens that vision keeps.
        textual: tokens that the question recovers.
    """
    import torch

    seen = best_first(finite(attention, "class attention"), visual)
    others = finite(similarity, "similarity").scatter(1, seen, -torch.inf)
    return torch.cat([seen, best_first(others, textual)], 1).sort(1).values
