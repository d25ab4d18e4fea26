"""FoPru: tokens, or whole rows of the image, that receive most attention in the vision encoder.

Jiang et al., arXiv:2411.14164.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.visual.ranking import best_first, finite

if TYPE_CHECKING:
    from torch import Tensor


def best_rows(significance: Tensor, grid: tuple[int, int], k: int) -> Tensor:
    """Return k tokens, whole rows of the image as long as they fit, ascending, (batch, k).

    Rows are ranked by the sum of their tokens; what the budget leaves after the last whole row
    goes to the best tokens of the next row.

    Args:
        significance: (batch, N) of each token, row by row.
        grid: rows and columns of the image.
        k: tokens to keep.
    """
    rows, columns = grid
    total = finite(significance, "attention").view(-1, rows, columns).sum(2)
    rank = total.argsort(dim=1, descending=True, stable=True).argsort(1)
    best = best_first(significance, rows * columns)
    row_first = rank.gather(1, best // columns).argsort(dim=1, stable=True)
    return best.gather(1, row_first)[:, :k].sort(1).values
