"""How a budget of tokens is shared among parts of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def proportional(weight: Tensor, budget: int) -> Tensor:
    """Return shares of `budget` in proportion to `weight` (parts,), int64, that sum to it.

    Shares are rounded down; the tokens left go one each to the largest weights. Weights that
    are all 0 count as equal.

    Args:
        weight: (parts,) at least 0.
        budget: tokens to share.
    """
    import torch

    total = weight.sum()
    share = weight / total if total > 0 else torch.full_like(weight, 1 / len(weight))
    quota = (share * budget).floor().long()
    left = budget - int(quota.sum())
    quota[share.argsort(descending=True, stable=True)[:left]] += 1
    return quota


def within_sizes(weight: Tensor, sizes: Sequence[int], budget: int) -> Tensor:
    """Return shares as `proportional`, none larger than its part; what is over goes to the rest.

    Args:
        weight: (parts,) at least 0.
        sizes: tokens of each part.
        budget: tokens to share, at most the sum of `sizes`.
    """
    import torch

    size = torch.tensor(sizes)
    quota = torch.zeros_like(size)
    while (left := budget - int(quota.sum())) > 0:
        open_parts = quota < size
        more = torch.zeros_like(size)
        more[open_parts] = proportional(weight[open_parts], left)
        quota = torch.minimum(quota + more, size)
    return quota
