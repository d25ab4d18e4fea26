"""Magnitude pruning: a weight is worth its absolute value."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from algos.base import Parity
from algos.static.base import LinearView
from algos.weight.base import GroupedMethod
from algos.weight.pattern import keep_matrix

if TYPE_CHECKING:
    from torch import Generator, Tensor


def magnitude_score(weight: Tensor) -> Tensor:
    """Return |w| of (rows, columns)."""
    return weight.abs()


def random_score(weight: Tensor, generator: Generator) -> Tensor:
    """Return uniform random scores of the shape of `weight`: the control for every signal."""
    import torch

    return torch.rand(weight.shape, generator=generator)


def above_threshold(score: Tensor, keep_ratio: float) -> Tensor:
    """Return what is above the score that stands at the pruned share in ascending order.

    This prunes one weight more than its share, and all that equal it.
    """
    flat = score.reshape(-1)
    at = min(int(len(flat) * (1 - keep_ratio)), len(flat) - 1)
    return score > flat.sort().values[at]


class Magnitude(GroupedMethod):
    """Drops the weights of smallest absolute value of each matrix.

    With `compat="authors"` it prunes one weight more, and ties, as the baseline of Wanda's
    authors does.
    """

    name: ClassVar[str] = "magnitude"
    signal: ClassVar[str] = "absolute value of the weight"
    paper: ClassVar[str] = "Han et al., NeurIPS 2015, arXiv:1506.02626"
    parity: ClassVar[Parity] = "authors"

    compat: Literal["paper", "authors"] = "paper"
    """Count exactly, or as the authors of Wanda do for their baseline."""

    def score(self, linear: LinearView) -> Tensor:
        """Return |w|."""
        return magnitude_score(linear.weight)

    def whole_mask(self, score: Tensor, keep_ratio: float) -> Tensor:
        """Keep the largest of the whole matrix."""
        if self.compat == "authors":
            return above_threshold(score, keep_ratio)
        return keep_matrix(score, keep_ratio)
