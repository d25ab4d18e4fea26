"""Top-k by a stable sort."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def topk(scores: Tensor, k: int) -> Tensor:
    """Return the places of the k largest of each row, ascending; ties: the lowest place wins.

    Args:
        scores: (rows, keys).
        k: how many.

    Returns:
        (rows, k) int32.
    """
    order = scores.sort(dim=-1, descending=True, stable=True).indices
    return order[:, :k].sort(dim=-1).values.int()
