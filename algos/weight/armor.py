"""ARMOR: a 2:4 core between two block-diagonal matrices.

Liu et al., ICLR 2026, arXiv:2510.05528.

A matrix W, normalised by columns, then by rows, becomes A (C o M) B: C dense values, M a 2:4 mask,
A and B block-diagonal. The loss is sum_ij h_j (W - A (C o M) B)_ij^2, h_j the squared norm of
input j. Values follow its gradient; the mask is improved group by group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.static.base import LinearView, ModelView, Need, PrunedWeight
from algos.weight.base import WeightMethod, WeightPlan
from algos.weight.block_factors import factorize
from algos.weight.pattern import check_score, keep_largest
from workloads.packed import KEPT, QUAD

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-5  # added to norms


def normalized(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return W / |column| / |row|, the norms of columns and then those of rows."""
    columns = weight.norm(dim=0) + EPSILON
    found = weight / columns
    rows = found.norm(dim=1) + EPSILON
    return found / rows[:, None], columns, rows


def first_mask(weight: Tensor, squares: Tensor) -> Tensor:
    """Return the 2:4 mask of normalised weights by w^2 times the squared norm of the input."""
    return keep_largest(weight.square() * squares)


class Armor(WeightMethod):
    """Replaces each matrix by a 2:4 core between two small block-diagonal matrices.

    Blocks of the model are treated in order, with inputs after the blocks before. The authors take
    3000 steps, here 100 by default; how they choose groups in detail is from a description. The
    wrappers come on top of the budget: 2 x `block` weights for each output and input.
    """

    name: ClassVar[str] = "armor"
    signal: ClassVar[str] = "squared normalised weight times squared norm of its input"
    paper: ClassVar[str] = "Liu et al., ICLR 2026, arXiv:2510.05528"
    granularity: ClassVar[str] = "N:M weights"
    trace_kind: ClassVar[str] = "weights, N:M"
    training: ClassVar[str] = "calibration samples"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs"})

    keep_ratio: Annotated[float, Field(ge=0.5, le=0.5)] = 0.5
    """Share kept of the core: 2 of 4."""
    block: Annotated[int, Field(ge=1, le=1024)] = 32
    """Size of a block of the wrappers; where it does not divide a side, their common divisor."""
    steps: Annotated[int, Field(ge=0)] = 100
    """Steps of Adam, each with one group of every tile chosen anew."""

    def plan(self, model: ModelView) -> WeightPlan:
        """Pass the generator on."""
        return WeightPlan(generator=model.generator)

    def prune_linear(self, linear: LinearView, plan: WeightPlan) -> PrunedWeight:
        """Return the product of the factors, and the core that hardware stores."""
        weight, columns, rows = normalized(linear.weight)
        squares = linear.input_squares
        check_score(weight.square() * squares, linear.where)
        assert plan.generator is not None
        found = factorize(
            weight,
            squares,
            first_mask(weight, squares),
            block=self.block,
            steps=self.steps,
            generator=plan.generator,
        )
        return PrunedWeight(
            weight=found.product * rows[:, None] * columns,
            pattern="n:m",
            n=KEPT,
            m=QUAD,
            core=found.core,
            wrappers=(found.left.shape[1], found.right.shape[1]),
        )
