"""Greedy selection: pick a token, look at all pairs with it, pick the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from algos.selection import best_first
from algos.token import shared
from algos.visual.ranking import finite

if TYPE_CHECKING:
    from torch import Tensor


def cosine(features: Tensor) -> Tensor:
    """Return the cosine of every pair of tokens, (batch, N, N); a zero vector has 0 with all.

    Args:
        features: (batch, N, d).

    Raises:
        InputError: a feature is not finite.
    """
    return shared.cosine(finite(features, "features"), features)


def greedy(
    first: Tensor,
    pairs: Tensor,
    k: int,
    merge: Callable[[Tensor, Tensor], Tensor],
    value: Callable[[Tensor], Tensor],
    at_once: int = 1,
) -> Tensor:
    """Return k distinct tokens of each image in the order picked, (batch, k).

    Args:
        first: (batch, N) what decides the first pick.
        pairs: (batch, N, N) what each token is to each other.
        k: tokens to pick.
        merge: combines the rows of `pairs` of all tokens picked, elementwise: (batch, N) each.
        value: of what the rows combined to, what decides the next pick, (batch, N).
        at_once: tokens picked in one round.
    """
    import torch

    n = first.shape[1]
    taken = torch.zeros_like(first, dtype=torch.bool)
    picks: list[Tensor] = []
    seen: Tensor | None = None
    for done in range(0, k, at_once):
        score = first if seen is None else value(seen)
        order = best_first(score, n)
        free = order[~taken.gather(1, order)].view(len(order), n - done)
        picked = free[:, : min(at_once, k - done)]
        picks.append(picked)
        taken = taken.scatter(1, picked, True)
        for pick in picked.unbind(1):
            row = pairs.gather(1, pick[:, None, None].expand(-1, 1, n))[:, 0]
            seen = row if seen is None else merge(seen, row)
    return torch.cat(picks, 1)


def nearest_other(distance: Tensor) -> Tensor:
    """Return the distance from each token to its nearest other one, (batch, N).

    As DivPrune computes it: the second smallest of a column, whose smallest is the token itself.
    """
    if distance.shape[1] == 1:
        return distance[:, 0]
    return distance.topk(2, dim=1, largest=False).values[:, 1]
