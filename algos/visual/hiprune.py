"""HiPrune: anchors from a middle layer, their neighbours, and registers from a deep layer.

Liu et al., ACL findings 2026, arXiv:2508.00553.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Fraction, Parity, Ratio
from algos.selection import best_first
from algos.visual.base import Selected, VisualInput, VisualMethod
from algos.visual.ranking import EncoderLayer, finite, layer_of, received_attention

OBJECT_DEPTH = 9 / 24  # the paper's object layer of CLIP's 24

if TYPE_CHECKING:
    from torch import Tensor


class HiPrune(VisualMethod):
    """Keep anchors of a middle encoder layer, their neighbours, and registers of a deep layer.

    Neighbours stay inside the image, where those of the authors' program wrap to other rows. The
    budget is met exactly: where rounding allows for too many anchors, neighbours give way.
    """

    name: ClassVar[str] = "hiprune"
    signal: ClassVar[str] = "attention received in a middle and in a deep encoder layer"
    paper: ClassVar[str] = "Liu et al., ACL findings 2026, arXiv:2508.00553"
    parity: ClassVar[Parity] = "authors"

    keep_ratio: Ratio = 1 / 3
    """Visual tokens kept, rounded down, at least 1."""
    alpha: Fraction = 0.1
    """Share of the budget for anchors with their neighbours."""
    object_layer: Annotated[int, Field(ge=0)] = 0
    """Layer of the anchors, counted from 1; 0: as deep as the 9th of 24."""
    deep_layer: EncoderLayer = -2
    """Layer of the registers: the one whose output the language model gets."""
    compat: Literal["paper", "authors"] = "paper"
    """"authors": neighbours left and right wrap to other rows, those outside the image become its
    first or last token."""

    def select(self, seen: VisualInput) -> Selected:
        """Read the attention received in the two layers."""
        middle = self.object_layer or max(1, round(OBJECT_DEPTH * len(seen.attention)))
        kept = anchors_and_registers(
            received_attention(layer_of(seen.attention, middle - 1)),
            received_attention(layer_of(seen.attention, self.deep_layer)),
            seen.grid,
            self.kept(seen.features.shape[1]),
            self.alpha,
            self.compat,
        )
        return Selected(kept=kept)


def anchors_and_registers(
    middle: Tensor,
    deep: Tensor,
    grid: tuple[int, int],
    k: int,
    alpha: float = 0.1,
    compat: Literal["paper", "authors"] = "paper",
) -> Tensor:
    """Return k tokens of each image, ascending, (batch, k).

    The round(k * alpha / 5) best of the middle layer are anchors; they and their four neighbours
    are kept, then the best of the deep layer among the others. Anchors and neighbours that are
    more than k, as rounding allows, are cut to k: anchors stay before neighbours, of each the
    better in the middle layer.

    Args:
        middle: (batch, N) attention received in the object layer.
        deep: (batch, N) attention received in the deep layer.
        grid: rows and columns of the image.
        k: tokens to keep.
        alpha: share of the budget for anchors with their neighbours, in 0..1.
        compat: "authors": neighbours are counted along the sequence, so that those left and
            right of an anchor wrap to other rows, and those above the first or below the last
            token become that token.
    """
    import torch

    count = min(k, round(k * alpha / 5))
    anchors = best_first(finite(middle, "attention"), count)
    rank = torch.zeros_like(middle)  # 2: an anchor, 1: a neighbour, 0: what is left
    around = _sequence if compat == "authors" else _grid
    for image, row in enumerate(anchors.tolist()):
        rank[image, [near for anchor in row for near in around(anchor, grid)]] = 1
    rank.scatter_(1, anchors, 2)
    inside = torch.where(rank > 0, middle, finite(deep, "attention"))
    order = best_first(inside, middle.shape[1])
    by_rank = rank.gather(1, order).argsort(dim=1, descending=True, stable=True)
    return order.gather(1, by_rank)[:, :k].sort(1).values


def _grid(token: int, grid: tuple[int, int]) -> list[int]:
    """Return the tokens left, right, above and below one, inside the image."""
    row, column = divmod(token, grid[1])
    near = ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column))
    return [r * grid[1] + c for r, c in near if 0 <= r < grid[0] and 0 <= c < grid[1]]


def _sequence(token: int, grid: tuple[int, int]) -> list[int]:
    """Return the same by steps along the sequence, moved into its range."""
    last = grid[0] * grid[1] - 1
    return [min(max(token + step, 0), last) for step in (-1, 1, -grid[1], grid[1])]
