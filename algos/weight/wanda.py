"""Wanda: a weight is worth |w| times the norm of its input.  Sun et al., ICLR 2024, section 3.

As in the authors' program, the square of an input's norm is the mean over samples of the sum over
tokens of its squares; only ratios of norms matter. No weight is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.static.base import LinearView, Need
from algos.weight.base import GroupedMethod
from algos.weight.pattern import keep_rows

if TYPE_CHECKING:
    from torch import Tensor

ALPHA, ALPHA_RANGE = 0.4, (0.0, 0.8)  # where the bisection of the variant begins
TOLERANCE = 0.001  # of the sparsity, and of alpha: where it ends


def input_squares(inputs: Tensor) -> Tensor:
    """Return the squared norm of each input, (columns,), of (samples, tokens, columns)."""
    return inputs.float().square().sum(1).mean(0)


def wanda_score(weight: Tensor, squares: Tensor) -> Tensor:
    """Return |w| * norm of (rows, columns) weights; `squares` (columns,) are squared norms."""
    return weight.abs() * squares.sqrt()


def cumulative_mask(score: Tensor, keep_ratio: float) -> Tensor:
    """Return which weights stay if each row loses the same share alpha of its summed score.

    The share is found by bisection, so that sparsity is met within 0.001; rows then keep unequal
    numbers. A row loses its smallest scores while their sum is at most alpha of the row's, and all
    that equal the last of them.
    """
    ascending = score.sort(dim=1, stable=True).values
    sums, total = ascending.cumsum(1), score.sum(1, keepdim=True)

    def kept(alpha: float) -> Tensor:
        count = (sums <= alpha * total).sum(1, keepdim=True)
        last = ascending.gather(1, (count - 1).clamp_min(0))
        return (score > last) | (count == 0)

    alpha, (low, high) = ALPHA, ALPHA_RANGE
    mask = kept(alpha)
    while high - low >= TOLERANCE:
        sparsity = 1 - float(mask.float().mean())
        if abs(sparsity - (1 - keep_ratio)) <= TOLERANCE:
            break
        if sparsity > 1 - keep_ratio:
            alpha, high = (alpha + low) / 2, alpha
        else:
            alpha, low = (alpha + high) / 2, alpha
        mask = kept(alpha)
    return mask


class Wanda(GroupedMethod):
    """Drops the weights of each output whose product with the norm of their input is least.

    Blocks are pruned in order, and norms are those after the pruned blocks before.
    """

    name: ClassVar[str] = "wanda"
    signal: ClassVar[str] = "absolute weight times norm of its input"
    paper: ClassVar[str] = "Sun et al., ICLR 2024, arXiv:2306.11695"
    training: ClassVar[str] = "calibration samples"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs"})

    variant: bool = False
    """Drop the same share of each output's score, not of its weights; sparsity within 0.001."""

    def score(self, linear: LinearView) -> Tensor:
        """Return |w| * norm of the input."""
        return wanda_score(linear.weight, linear.input_squares)

    def whole_mask(self, score: Tensor, keep_ratio: float) -> Tensor:
        """Keep the largest of each output, or what the variant leaves."""
        return cumulative_mask(score, keep_ratio) if self.variant else keep_rows(score, keep_ratio)
