"""AIM inside the language model: visual tokens fall away layer by layer, ranked by PageRank.

Zhong et al., ICCV 2025, arXiv:2412.03248. The merging before the language model is a method of
its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.selection import keep_count
from algos.token.base import Between
from algos.token.cuts import VisualCuts, seen
from algos.token.walk import walked

if TYPE_CHECKING:
    from torch import Tensor

FALL = 8 / 28  # share of the depth over which the paper's model goes from all tokens to none
BISECTIONS = 60  # enough for a float


class AIM(VisualCuts):
    """Drop the visual tokens of the lowest PageRank before each layer from the middle on.

    Attention is sharpened by a temperature before it is walked. Dropped tokens leave the sequence;
    the authors' program masks them. The last layers may keep no visual token at all.
    """

    name: ClassVar[str] = "aim"
    signal: ClassVar[str] = "weighted PageRank of sharpened attention"
    paper: ClassVar[str] = "Zhong et al., ICCV 2025, arXiv:2412.03248"
    parity: ClassVar[Parity] = "authors"

    keep_ratio: Annotated[float, Field(gt=0, le=1)] = 0.625
    """Visual tokens kept, averaged over all layers; the default gives the paper's schedule."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Divides the scores before their softmax."""
    iterations: Annotated[int, Field(ge=1)] = 5
    """Steps of the walk."""
    damping: Fraction = 0.0
    """Share of the importance that every step spreads evenly."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Return the counts of every layer but the first."""
        ratios = schedule(layers, self.keep_ratio)
        counts = (keep_count(r, n) if r * n >= 1 - 1e-9 else 0 for r in ratios)
        return dict(list(enumerate(counts))[1:])

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the importance in the attention of the layer before."""
        sharp = sharpened(seen(entry).outcome.probability, self.temperature)
        return page_rank(sharp, self.iterations, self.damping)[:, where]


def schedule(layers: int, average: float) -> tuple[float, ...]:
    """Return the share of visual tokens that each layer keeps.

    All at first, then falling linearly to none over 8/28 of the depth, and none from there on.
    When the fall begins is what makes the average; `keep_ratio` .625 of 28 layers: before layer 14.
    """
    width = FALL * layers

    def ratios(start: float) -> tuple[float, ...]:
        falls = (1 - (layer - start + 1) / width for layer in range(layers))
        return tuple(min(1.0, max(0.0, fall)) for fall in falls)

    low, high = -width, layers + 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if sum(ratios(middle)) > average * layers else (middle, high)
    return ratios(high)


def sharpened(probability: Tensor, temperature: float) -> Tensor:
    """Return softmax(scores / temperature) of softmax(scores): only differences of scores count."""
    return (probability.log() / temperature).softmax(-1)


def page_rank(attention: Tensor, iterations: int, damping: float) -> Tensor:
    """Return the importance of each token, (batch, token): root mean square over heads.

    Args:
        attention: (batch, head, query, key), each row sums to 1.
        iterations: steps of the walk, from the uniform distribution.
        damping: share spread evenly in each step.
    """
    import torch

    n = attention.shape[-1]
    start = torch.full((n,), 1 / n, dtype=attention.dtype)
    return walked(attention, start, iterations, damping).square().mean(1).sqrt()
