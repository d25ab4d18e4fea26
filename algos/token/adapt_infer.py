"""AdaptInfer: text attends to text, which says whose view of the image counts.

Zhang et al., arXiv:2508.06084.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.token.base import Between
from algos.token.cuts import VisualCuts, seen
from algos.token.shared import equal_cuts, shares

if TYPE_CHECKING:
    from torch import Tensor


class AdaptInfer(VisualCuts):
    """Drop the visual tokens that the question's most attended words attend to least.

    From the description: the layers are those where cross-modal attention turns, found offline on
    the model; here they are shares of the depth, an estimate, and every cut drops as many tokens.
    Text tokens are those after the visual ones.
    """

    name: ClassVar[str] = "adapt-infer"
    signal: ClassVar[str] = "attention of text, weighted by text's attention to text"
    paper: ClassVar[str] = "Zhang et al., arXiv:2508.06084"
    parity: ClassVar[Parity] = "description"

    first_cut: Fraction = 0.25
    """Share of the depth at which tokens are first dropped."""
    last_cut: Fraction = 0.75
    """Share of the depth at which tokens are last dropped."""
    cuts: Annotated[int, Field(ge=1)] = 3
    """Cuts, evenly spaced; each drops as many tokens."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut at each layer."""
        return equal_cuts(self.first_cut, self.last_cut, self.cuts, self.keep_ratio, layers, n)

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the weighted attention of the layer before."""
        return guided(seen(entry).outcome.probability, where)


def guided(probability: Tensor, visual: slice) -> Tensor:
    """Return the score of each visual token, (batch, visual).

    Args:
        probability: (batch, head, query, key); tokens after the visual ones are text.
        visual: where the visual tokens are.
    """
    text = probability.mean(1)[:, visual.stop :]
    prior = shares(text[:, :, visual.stop :].mean(1))
    return (prior[:, None] @ text[:, :, visual])[:, 0]
