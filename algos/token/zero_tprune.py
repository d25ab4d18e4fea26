"""Zero-TPrune: PageRank on the attention graph, then similarity, then PageRank again.

Wang, Dedhia, Jha, CVPR 2024, arXiv:2305.17328.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.selection import rows_of
from algos.token.base import Between
from algos.token.cuts import EncoderCuts, seen
from algos.token.shared import cosine, equal_cuts, top_order
from algos.token.walk import walked

if TYPE_CHECKING:
    from torch import Tensor


class ZeroTPrune(EncoderCuts):
    """Drop the tokens of the lowest PageRank, and before them those that resemble others most.

    From the description: no program is released. Assumed are the cuts (three, equal, at quarters of
    the depth), the share dropped for similarity, that heads are judged on n times the PageRank (the
    variance of the PageRank itself is below the published range for every head), and that all
    heads count where none is in the range.
    """

    name: ClassVar[str] = "zero-tprune"
    signal: ClassVar[str] = "weighted PageRank of attention; similarity of keys"
    paper: ClassVar[str] = "Wang et al., CVPR 2024, arXiv:2305.17328"
    parity: ClassVar[Parity] = "description"

    similar_share: Fraction = 0.5
    """Share of the tokens dropped at a cut that go for their similarity: an estimate."""
    first_steps: Annotated[int, Field(ge=1)] = 30
    """Steps of the walk in the first three layers."""
    middle_steps: Annotated[int, Field(ge=1)] = 5
    """Steps of the walk in the layers between."""
    last_steps: Annotated[int, Field(ge=1)] = 1
    """Steps of the walk in the last three layers."""
    least_variance: Annotated[float, Field(ge=0)] = 0.01
    """A head counts if the variance of n times its PageRank is at least this."""
    largest_variance: Annotated[float, Field(ge=0)] = 0.7
    """A head counts if the variance of n times its PageRank is at most this."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut three times, at quarters of the depth."""
        return equal_cuts(1 / 4, 3 / 4, 3, self.keep_ratio, layers, n)

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return PageRank among those that similarity leaves; the others are below all."""
        from torch.nn.functional import pad

        before, n = seen(entry), where.stop - where.start
        variances = (self.least_variance, self.largest_variance)
        walk, key = before.outcome.probability, before.step.key[:, :, where].mean(1)
        first = importance(walk, 1, where.start, variances)[:, where]
        drop = math.floor(self.similar_share * (n - state.counts[entry.layer]))
        similar = most_similar(first, key, drop)
        gone = pad(similar, (where.start, walk.shape[-1] - where.stop))
        left = walk.masked_fill(gone[:, None, None], 0).masked_fill(gone[:, None, :, None], 0)
        left = left / left.sum(-1, keepdim=True).clamp_min(1e-30)
        steps = self._steps(entry.layer - 1, state.layers)
        rank = importance(left, steps, where.start, variances)[:, where]
        return rank.masked_fill(similar, -1.0)

    def _steps(self, layer: int, layers: int) -> int:
        if layer < 3:
            return self.first_steps
        return self.last_steps if layer >= layers - 3 else self.middle_steps


def importance(
    attention: Tensor, iterations: int, class_tokens: int, variance_range: tuple[float, float]
) -> Tensor:
    """Return the importance of each token, (batch, token): root mean square over heads.

    Args:
        attention: (batch, head, query, key), rows sum to 1.
        iterations: steps of the walk.
        class_tokens: 1: the first token starts with sqrt(n) times the weight of the others.
        variance_range: a head counts if the variance of n times its PageRank is in this range.
    """
    import torch

    n = attention.shape[-1]
    start = torch.ones(n, dtype=attention.dtype)
    start[:class_tokens] = math.sqrt(n)
    rank = walked(attention, start / start.sum(), iterations)
    variance = (n * rank).var(-1, correction=0)
    counts = (variance >= variance_range[0]) & (variance <= variance_range[1])
    counts = counts | ~counts.any(1, keepdim=True)
    square = (rank.square() * counts[:, :, None]).sum(1) / counts.sum(1, keepdim=True)
    return square.sqrt()


def most_similar(rank: Tensor, key: Tensor, drop: int) -> Tensor:
    """Mark the tokens to drop, (batch, token) bool: of the less important half, the `drop` most
    like a token of the more important half; at most the whole half.

    Args:
        rank: (batch, token) importance.
        key: (batch, token, channel) key vectors, mean over heads.
        drop: tokens to mark.
    """
    import torch

    order = top_order(rank, rank.shape[1])
    half = rank.shape[1] - rank.shape[1] // 2
    important, others = order[:, :half], order[:, half:]
    pairs = cosine(rows_of(key, others), rows_of(key, important))
    best = top_order(pairs.amax(2), min(drop, others.shape[1]))
    mark = torch.zeros_like(rank, dtype=torch.bool)
    return mark.scatter(1, others.gather(1, best), True)
