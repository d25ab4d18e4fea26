"""Blocks of constant size: what a sparse kernel of a CPU or an array multiplies at once.

Shen et al. 2023, arXiv:2306.16601: blocks of 4 outputs x 1 input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity, Ratio
from algos.static.base import LinearView, PrunedWeight
from algos.weight.base import WeightMethod
from algos.weight.pattern import keep_matrix
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def block_score(weight: Tensor, rows: int, columns: int) -> Tensor:
    """Return the sum of |w| of each block: (outputs / rows, inputs / columns)."""
    outputs, inputs = weight.shape
    return weight.abs().view(outputs // rows, rows, inputs // columns, columns).sum((1, 3))


class ConstantBlock(WeightMethod):
    """Drops the blocks of 4 outputs x 1 input of smallest magnitude of each matrix.

    From the description: the paper prunes to 70 to 90 % while it trains; here the blocks of the
    trained model are ranked by the sum of their absolute values. Without training that budget
    is too small for any one-shot score: at 20 % the tiny vision transformer names 18 % of images
    right (single weights by magnitude: 18 %, at random: 8 %), at 50 % it names 82 %.
    """

    name: ClassVar[str] = "constant-block"
    signal: ClassVar[str] = "sum of absolute weights of a block"
    paper: ClassVar[str] = "Shen et al. 2023, arXiv:2306.16601"
    granularity: ClassVar[str] = "weight block"
    trace_kind: ClassVar[str] = "weights, structured"
    training: ClassVar[str] = "none here; the paper trains the model"
    parity: ClassVar[Parity] = "description"

    keep_ratio: Ratio = 0.2
    """Share of blocks kept of each matrix."""
    block_rows: Annotated[int, Field(ge=1)] = 4
    """Outputs of a block."""
    block_columns: Annotated[int, Field(ge=1)] = 1
    """Inputs of a block."""

    def score(self, linear: LinearView) -> Tensor:
        """Return the score of each block.

        Raises:
            InputError: the matrix does not divide into blocks.
        """
        size = linear.weight.shape[0] % self.block_rows, linear.weight.shape[1] % self.block_columns
        if any(size):
            raise InputError(
                f"{linear.where} must divide into blocks of {self.block_rows} x "
                f"{self.block_columns}, not {tuple(linear.weight.shape)}"
            )
        return block_score(linear.weight, self.block_rows, self.block_columns)

    def mask(self, score: Tensor, keep_ratio: float, where: str) -> Tensor:
        """Keep the largest blocks of the matrix; return a bool for each weight."""
        kept = keep_matrix(score, keep_ratio)
        return kept.repeat_interleave(self.block_rows, 0).repeat_interleave(self.block_columns, 1)

    def pruned(self, weight: Tensor) -> PrunedWeight:
        """Return a matrix with its pattern."""
        return PrunedWeight(
            weight=weight,
            pattern="block",
            block_rows=self.block_rows,
            block_columns=self.block_columns,
        )
