"""Token Transforming: all tokens are mixed into a few informative ones, many to many.

Zeng et al., arXiv:2506.05709.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import Decision, Parity
from algos.selection import rows_of
from algos.token.base import Between
from algos.token.cuts import CutState, EncoderCuts, living, seen
from algos.token.shared import cosine, equal_cuts, with_others

if TYPE_CHECKING:
    from torch import Tensor


class TokenTransforming(EncoderCuts):
    """Keep the most attended tokens, each made a weighted mean of all tokens that resemble it.

    From the description: each token is shared out over the informative ones by a softmax of cosine
    similarities. The temperature, the layers, their equal shares and the measure of what is
    informative (attention of the class token, without one attention received) are assumptions.
    """

    name: ClassVar[str] = "token-transforming"
    signal: ClassVar[str] = "attention of the class token; similarity of hidden states"
    paper: ClassVar[str] = "Zeng et al., arXiv:2506.05709"
    trace_kind: ClassVar[str] = "merge map"
    parity: ClassVar[Parity] = "description"

    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Divides the similarities before their softmax: an estimate."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut three times, at quarters of the depth."""
        return equal_cuts(1 / 4, 3 / 4, 3, self.keep_ratio, layers, n)

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the attention of the class token, or that received where there is none."""
        mean = seen(entry).outcome.probability.mean(1)
        return (mean[:, 0] if where.start else mean.mean(1))[:, where]

    def between(self, entry: Between, state: CutState) -> Decision:
        """Mix all tokens into those kept."""
        import torch

        chosen = self.chosen(entry, state)
        if chosen is None:
            return Decision()
        where, tokens = living(entry.ids, state.prunable), entry.ids.shape[1]
        merge = torch.zeros(len(chosen), where.start + chosen.shape[1], tokens)
        merge[:, : where.start, : where.start] = torch.eye(where.start)
        mix = transformation(entry.hidden[:, where], chosen, self.temperature)
        merge[:, where.start :, where] = mix
        return Decision(kept_tokens=with_others(chosen, where, tokens), merge=merge)


def transformation(x: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    """Return the weights of all tokens in each chosen one, (batch, chosen, token); rows sum to 1.

    Args:
        x: (batch, token, hidden).
        chosen: (batch, k) indices of the informative tokens.
        temperature: the smaller, the more a token goes to the one most like it.
    """
    assigned = (cosine(x, rows_of(x, chosen)) / temperature).softmax(2).mT
    return assigned / assigned.sum(2, keepdim=True)
