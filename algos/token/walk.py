"""PageRank by steps of a walk: attention is where a token's importance goes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def walked(attention: Tensor, start: Tensor, iterations: int, damping: float = 0.0) -> Tensor:
    """Return the importance of each token in each head after a walk, (batch, head, token).

    Args:
        attention: (batch, head, query, key), each row sums to 1.
        start: (token,) importance before the first step.
        iterations: steps.
        damping: share that every step spreads evenly.
    """
    n = attention.shape[-1]
    rank = start.expand(*attention.shape[:2], 1, n)
    for _ in range(iterations):
        rank = rank @ attention * (1 - damping) + damping / n
    return rank[:, :, 0]
