"""SparseGPT: prune, quantise, and let the weights that come later make up for it.

Frantar and Alistarh, ICML 2023, algorithm 1. At every fourth column the two weights of the quad
that cost least, w^2 / U_jj^2, are dropped from each row, U being the upper Cholesky factor of the
inverse Hessian; or, without a pattern, at every block of 128 columns those of the block that cost
least, whatever their row. `algos.weight.sweep` spreads what that changes over the columns to come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Parity
from algos.static.base import LinearView, Need, PrunedWeight
from algos.weight.base import GroupedMethod, WeightPlan
from algos.weight.magnitude import above_threshold
from algos.weight.pattern import keep_matrix
from algos.weight.sweep import BLOCK, Choice, Sweep
from workloads.packed import KEPT, QUAD

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
    return Sweep(weight, hessian, Choice.n_of_m(kept, of, weight, layer), layer).run()


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
