"""Provence: a context goes if its tokens are probably of no use for the question.

Chirkova et al., ICLR 2025, arXiv:2501.16214; OpenProvence gives the rule of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Fraction, Parity
from algos.prompt.base import PromptInput, PromptMethod
from algos.token.shared import cosine
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class Provence(PromptMethod):
    """Keep the contexts whose tokens' mean probability of use is above a threshold.

    Represented by a substitute: the paper's token probabilities come from a trained reranker. Here
    a token's is a logistic function of its cosine with the question, whose middle and width are
    estimates. A context stands for the paper's sentence. Slack: the threshold decides how many
    stay; none may.
    """

    name: ClassVar[str] = "provence"
    signal: ClassVar[str] = "probability that a token is of use, from cosines with the question"
    paper: ClassVar[str] = "Chirkova et al., ICLR 2025, arXiv:2501.16214"
    training: ClassVar[str] = "a reranker in the paper; none here"
    parity: ClassVar[Parity] = "description"

    threshold: Fraction = 0.1
    """Probability above which a token or a mean counts."""
    rule: Literal["mean", "majority"] = "mean"
    """A context is kept if the mean of its tokens is above the threshold, or at least half of its
    tokens are."""
    middle: Annotated[float, Field(ge=-1, le=1)] = 0.5
    """Cosine that stands for a probability of one half."""
    width: Annotated[float, Field(gt=0)] = 0.1
    """Cosine over which the probability rises by a factor e of its odds."""

    def select(self, seen: PromptInput) -> Tensor:
        """Return the contexts that the rule keeps."""
        probabilities = [
            usefulness(tokens, seen.question, self.middle, self.width)
            for tokens in seen.context_tokens
        ]
        return kept_contexts(probabilities, self.threshold, self.rule)


def usefulness(tokens: Tensor, question: Tensor, middle: float, width: float) -> Tensor:
    """Return the substitute probability of each token, (token,).

    Args:
        tokens: (token, width of the encoder).
        question: (width of the encoder,).
        middle: cosine of probability one half.
        width: cosine over which the odds grow by a factor e.
    """
    return ((cosine(tokens, question[None])[:, 0] - middle) / width).sigmoid()


def kept_contexts(
    probabilities: Sequence[Tensor], threshold: float, rule: Literal["mean", "majority"]
) -> Tensor:
    """Return the kept contexts, (kept,) int64 ascending.

    Args:
        probabilities: of each context, (token,); one without tokens is dropped.
        threshold: what a mean or a token must be above.
        rule: whether the mean decides, or at least half of the tokens.

    Raises:
        InputError: a probability is not finite.
    """
    import torch

    kept = []
    for context, p in enumerate(probabilities):
        if not bool(p.isfinite().all()):
            raise InputError(f"probabilities must be finite, one of context {context} is not")
        above = p.mean() > threshold if rule == "mean" else 2 * (p > threshold).sum() >= len(p)
        if len(p) and bool(above):
            kept.append(context)
    return torch.tensor(kept, dtype=torch.int64)
