"""KG-RAG: contexts that do not resemble the question enough are left out.

Soman et al., Bioinformatics 2024, arXiv:2311.17330.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Fraction, Parity, Ratio
from algos.prompt.base import PromptInput, PromptMethod
from algos.selection import keep_count
from algos.token.shared import cosine, top_ordinals

if TYPE_CHECKING:
    from torch import Tensor


class KGRAG(PromptMethod):
    """Keep the contexts most like the question, if they are like it at all.

    Contexts come from retrieval, not from a knowledge graph. Slack: contexts below the least
    similarity are dropped too, so that fewer than the budget may be left, even none. Both defaults
    are estimates: similarities depend on the encoder.
    """

    name: ClassVar[str] = "kg-rag"
    signal: ClassVar[str] = "cosine of question and context"
    paper: ClassVar[str] = "Soman et al., Bioinformatics 2024, arXiv:2311.17330"
    parity: ClassVar[Parity] = "description"

    keep_ratio: Ratio = 0.25
    """Contexts above the percentile, rounded down, at least 1."""
    least_similarity: Fraction = 0.5
    """Cosine that a kept context has at least."""

    def select(self, seen: PromptInput) -> Tensor:
        """Return the contexts that pass both thresholds."""
        return passing(seen.question, seen.contexts, self.keep_ratio, self.least_similarity)


def passing(question: Tensor, contexts: Tensor, keep_ratio: float, least: float) -> Tensor:
    """Return the kept contexts, (kept,) ascending.

    Args:
        question: (width,).
        contexts: (context, width).
        keep_ratio: share of contexts that pass the first threshold, rounded down, at least 1.
        least: cosine that must be reached as well.

    Raises:
        InputError: a similarity is not finite.
    """
    similarity = cosine(contexts, question[None])[:, 0]
    count = min(len(contexts), keep_count(keep_ratio, len(contexts)))
    best = top_ordinals(similarity[None], count, "context")[0]
    return best[similarity[best] >= least]
