"""FoPru: tokens, or whole rows of the image, that receive most attention in the vision encoder.

Jiang et al., arXiv:2411.14164.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from algos.base import Parity
from algos.selection import best_first
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.ranking import EncoderLayer, finite, layer_of, received_attention, top_ids

if TYPE_CHECKING:
    from torch import Tensor


class FoPru(VisualMethod):
    """Keep the visual tokens, or whole rows of them, that receive most attention.

    From the description: significance is the attention received in a late layer of the vision
    encoder; that it is the mean over heads and all queries, and of which layer, are assumptions.
    A budget that is no whole number of rows ends in a part of a row.
    """

    name: ClassVar[str] = "fopru"
    signal: ClassVar[str] = "attention received in the vision encoder"
    paper: ClassVar[str] = "Jiang et al., arXiv:2411.14164"
    parity: ClassVar[Parity] = "description"

    strategy: Literal["rank", "row"] = "rank"
    """"rank": the best tokens of the image; "row": its best rows."""
    layer: EncoderLayer = -2
    """Layer of the vision encoder whose attention is read."""

    def select(self, seen: VisualInput) -> Selected:
        """Rank tokens or rows by the attention of one layer."""
        significance = received_attention(layer_of(seen.attention, self.layer))
        k = self.kept(seen.features.shape[1])
        if self.strategy == "rank":
            return Selected(kept=top_ids(significance, k))
        return Selected(kept=best_rows(significance, seen.grid, k))


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
    rank = best_first(total, rows).argsort(1)
    best = best_first(significance, rows * columns)
    row_first = rank.gather(1, best // columns).argsort(dim=1, stable=True)
    return best.gather(1, row_first)[:, :k].sort(1).values
