"""The token part of SpAtten as the authors of LTP built it again to compare with.

Kim et al., KDD 2022, arXiv:2107.00910 (their baseline); the rule it stands for is SpAtten's, Wang,
Zhang, Han, HPCA 2021, arXiv:2012.09852.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from algos.token.shared import top_ordinals

if TYPE_CHECKING:
    from torch import Tensor

LEAST_RATE = 0.01  # of the baseline's program


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
