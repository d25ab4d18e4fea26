"""GBLM-Pruner: a weight is worth |w| times the norm of its input and of its gradient.

Das et al. 2023, arXiv:2311.04902. The gradient's norm is taken over calibration samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Parity
from algos.static.base import LinearView, Need
from algos.weight.base import GroupedMethod
from algos.weight.wanda import wanda_score

if TYPE_CHECKING:
    from torch import Tensor


def gradient_score(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return |w| * |g|, both (rows, columns)."""
    return weight.abs() * gradient.abs()


def gblm_score(weight: Tensor, squares: Tensor, gradient: Tensor) -> Tensor:
    """Return |w| * (norm of the input + |g|).

    Args:
        weight: (rows, columns).
        squares: (columns,) squared norms of the inputs.
        gradient: (rows, columns), the norm over samples of the gradient, already scaled.
    """
    return wanda_score(weight, squares) + gradient_score(weight, gradient)


class GblmPruner(GroupedMethod):
    """Drops the weights of each output that input norm and gradient together call least.

    Gradients are those of the dense model, norms of inputs those after pruned blocks before, as in
    the authors' program, which keeps the scaled gradients in half precision; here they are float32.
    """

    name: ClassVar[str] = "gblm"
    signal: ClassVar[str] = "absolute weight times norms of its input and its gradient"
    paper: ClassVar[str] = "Das et al. 2023, arXiv:2311.04902"
    training: ClassVar[str] = "calibration samples with a loss"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs", "gradients"})

    norm: Literal["l1", "l2"] = "l1"
    """Norm of a gradient over samples."""
    scale: Annotated[float, Field(gt=0)] = 100.0
    """Factor of gradients against norms of inputs; the paper's alpha."""
    signals: Literal["both", "gradient"] = "both"
    """Whether input norms count, or the gradient alone."""

    def score(self, linear: LinearView) -> Tensor:
        """Return |w| * (norm of the input + scale * norm of the gradient)."""
        gradient = linear.gradient_abs_sum
        if self.norm == "l2":
            gradient = linear.gradient_square_sum.sqrt()
        if self.signals == "gradient":
            return gradient_score(linear.weight, gradient)
        return gblm_score(linear.weight, linear.input_squares, self.scale * gradient)
