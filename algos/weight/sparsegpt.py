"""SparseGPT: prune, quantise, and let the weights that come later make up for it.

Frantar and Alistarh, ICML 2023, algorithm 1 and section 3.5. Columns are taken from left to right.
At every fourth column the two weights of the quad that cost least, w^2 / U_jj^2, are dropped from
each row, U being the upper Cholesky factor of the inverse Hessian; or, without a pattern, at every
block of 128 columns those of the block that cost least, whatever their row. What dropping and
rounding change is spread over the columns still to come, within the block at once and to later
blocks at its end. With quantisation a group's scale and zero point are found when its first column
comes, from the weights and the mask that pruning alone would now give it, errors weighted by
1 / U_jj^2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Parity
from algos.quant.groupwise import as_packed, kept_of
from algos.static.base import LinearView, Need, PrunedWeight
from algos.weight.base import GroupedMethod, WeightPlan
from algos.weight.magnitude import above_threshold
from algos.weight.pattern import keep_largest, keep_matrix
from algos.weight.sweep import BLOCK, Choice, Sweep
from workloads.errors import InputError
from workloads.packed import KEPT, QUAD, PackedMatrix, WeightFormat

if TYPE_CHECKING:
    from torch import Tensor

Count = Callable[["Tensor", float], "Tensor"]


def hessian_of(inputs: Tensor) -> Tensor:
    """Return the Hessian (columns, columns) of (samples, tokens, columns): 2 / samples * X^T X."""
    flat = inputs.flatten(0, 1).float()
    return 2 / len(inputs) * (flat.T @ flat)


def prune(
    weight: Tensor, hessian: Tensor, kept: int = KEPT, of: int = QUAD, layer: str = "the matrix"
) -> Tensor:
    """Return the (rows, columns) weights after N:M pruning, the kept ones adjusted.

    Raises:
        InputError: the Hessian is not finite, or the columns are no multiple of `of`.
    """
    return Sweep(weight, hessian, _n_of_m(weight, kept, of, layer), layer).run()


def prune_unstructured(
    weight: Tensor,
    hessian: Tensor,
    keep_ratio: float,
    *,
    block: int = BLOCK,
    count: Count = keep_matrix,
    layer: str = "the matrix",
) -> Tensor:
    """Return the (rows, columns) weights after pruning without a pattern, the kept ones adjusted.

    Args:
        weight: (rows, columns) float32.
        hessian: (columns, columns).
        keep_ratio: share kept of each block of columns.
        block: columns among which weights are chosen.
        count: (scores, share kept) -> which are kept.
        layer: named by errors.

    Raises:
        InputError: the Hessian is not finite.
    """
    choice = Choice(block, lambda score: count(score, keep_ratio), block)
    return Sweep(weight, hessian, choice, layer).run()


def prune_and_quantize(
    weight: Tensor, hessian: Tensor, form: WeightFormat, layer: str = "the matrix"
) -> PackedMatrix:
    """Return the weights of one pass that prunes 2:4 and quantises.

    Args:
        weight: (rows, columns) float32.
        hessian: (columns, columns).
        form: 2:4, 2 to 8 bits with an integer zero point.
        layer: named by errors.

    Raises:
        InputError: the Hessian is not finite, the columns are no multiple of the group, or a
            scale is not below 1.
    """
    sweep = Sweep(weight, hessian, _n_of_m(weight, KEPT, QUAD, layer), layer, form)
    sweep.run()
    codes = kept_of(sweep.codes, sweep.mask)
    return as_packed(codes, sweep.mask, sweep.scale, sweep.zero, form, weight.shape[1], layer)


def _n_of_m(weight: Tensor, kept: int, of: int, layer: str) -> Choice:
    if weight.shape[1] % of:
        raise InputError(f"{layer}: inputs must be a multiple of {of}, not {weight.shape[1]}")
    return Choice(of, lambda score: keep_largest(score, kept, of))


class SparseGpt(GroupedMethod):
    """Drops the weights that cost least once the others are adjusted, and adjusts them.

    Blocks of the model are pruned in order, with Hessians of the inputs after the blocks before.
    With `compat="authors"` every block of columns loses one weight more, and ties, as in the
    authors' program.
    """

    name: ClassVar[str] = "sparsegpt"
    signal: ClassVar[str] = "squared weight over the diagonal of the inverse Hessian"
    paper: ClassVar[str] = "Frantar and Alistarh, ICML 2023, arXiv:2301.00774"
    training: ClassVar[str] = "calibration samples"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs"})

    block: Annotated[int, Field(ge=1)] = BLOCK
    """Columns among which weights are chosen, without a pattern."""
    compat: Literal["paper", "authors"] = "paper"
    """Count exactly, or as the authors' program does."""

    def prune_linear(self, linear: LinearView, plan: WeightPlan) -> PrunedWeight:
        """Return one matrix, its kept weights adjusted."""
        weight, hessian, where = linear.weight, linear.hessian, linear.where
        if self.group:
            return self.pruned(prune(weight, hessian, self.kept_of_group, self.group, where))
        count = keep_matrix if self.compat == "paper" else above_threshold
        found = prune_unstructured(
            weight, hessian, self.keep_ratio, block=self.block, count=count, layer=where
        )
        return self.pruned(found)
