"""The token part of SpAtten as the authors of LTP built it again to compare with.

Kim et al., KDD 2022, arXiv:2107.00910 (their baseline); the rule it stands for is SpAtten's, Wang,
Zhang, Han, HPCA 2021, arXiv:2012.09852.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Fraction, Parity, Ratio
from algos.token.base import Between
from algos.token.cuts import EncoderCuts, seen
from algos.token.shared import top_ordinals

if TYPE_CHECKING:
    from torch import Tensor

LEAST_RATE = 0.01  # of the baseline's program


class LTPCascade(EncoderCuts):
    """Drop, layer by layer, the tokens that received least attention in the layer before.

    No importance is accumulated over layers, unlike in SpAtten. The baseline's program lets the
    class token compete; here it stays where there is one, and counts are shares of the others.
    """

    name: ClassVar[str] = "ltp-cascade"
    signal: ClassVar[str] = "attention received in the layer before"
    paper: ClassVar[str] = "Kim et al., KDD 2022, arXiv:2107.00910; Wang et al., HPCA 2021"
    parity: ClassVar[Parity] = "authors"

    keep_ratio: Ratio = 0.35
    """Prunable tokens left after the last layer, rounded half to even as in the program, at least
    1. The share falls linearly, and the last layer itself still sees one step more."""
    unpruned_fraction: Fraction = 0.15
    """Share of the layers, from the first and at least 3 layers, that see every token."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Return what is left after the layer before each."""
        rates = keep_rates(layers, self.keep_ratio, self.unpruned_fraction)
        return {layer + 1: max(1, round(n * rate)) for layer, rate in enumerate(rates)}

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the attention received: dropped tokens are not there to ask."""
        everyone = entry.ids >= 0
        return received(seen(entry).outcome.probability, everyone)[:, where]


def keep_rates(layers: int, end: float, unpruned_fraction: float = 0.15) -> tuple[float, ...]:
    """Return the share of the sentence that is left after each layer.

    The first max(3, ceil(unpruned_fraction * layers)) layers keep all; then it falls linearly to
    `end` after the last layer.
    """
    whole = max(3, math.ceil(unpruned_fraction * layers))
    falls = (
        max(LEAST_RATE, 1 + (end - 1) / (layers - whole) * (layer - whole + 1))
        for layer in range(whole, layers)
    )
    return (1.0,) * min(whole, layers) + tuple(falls)


def received(probability: Tensor, alive: Tensor) -> Tensor:
    """Return the attention each key got from living queries, (batch, key).

    Args:
        probability: (batch, head, query, key).
        alive: (batch, query) bool; the queries of dropped tokens count nothing.
    """
    return (probability * alive[:, None, :, None]).sum((1, 2))


def survivors(probability: Tensor, alive: Tensor, counts: list[int]) -> Tensor:
    """Return which tokens are alive after a layer, (batch, token) bool.

    Args:
        probability: (batch, head, query, key).
        alive: (batch, token) bool, before.
        counts: how many of each sequence are left.
    """
    import torch

    score = received(probability, alive)
    kept = torch.zeros_like(alive)
    for row, count in enumerate(counts):
        kept[row, top_ordinals(score[row : row + 1], count)[0]] = True
    return kept
