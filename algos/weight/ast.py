"""AST: the mask of the Adaptive Sparse Trainer.  Huang et al., AAAI 2025, arXiv:2407.20584."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Parity
from algos.static.base import LinearView, Need
from algos.weight.base import GroupedMethod
from algos.weight.magnitude import magnitude_score
from algos.weight.wanda import wanda_score

if TYPE_CHECKING:
    from torch import Tensor


def ast_score(weight: Tensor, squares: Tensor, metric: Literal["magnitude", "wanda"]) -> Tensor:
    """Return what weights (rows, columns) are worth; `squares` (columns,) of input norms."""
    return magnitude_score(weight) if metric == "magnitude" else wanda_score(weight, squares)


class Ast(GroupedMethod):
    """Drops two of every four neighbouring weights, by magnitude or by Wanda's score.

    This is the mask with which the paper's training begins. The training, which chooses it again
    and again with decay, distillation and low-rank helpers, is left out.
    """

    name: ClassVar[str] = "ast"
    signal: ClassVar[str] = "absolute weight, also times the norm of its input"
    paper: ClassVar[str] = "Huang et al., AAAI 2025, arXiv:2407.20584"
    granularity: ClassVar[str] = "N:M weights"
    trace_kind: ClassVar[str] = "weights, N:M"
    training: ClassVar[str] = "calibration samples; the paper trains the model, here it is not"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs"})

    group: Annotated[int, Field(ge=0, le=256)] = 4
    """Inputs M of a group of an N:M pattern, N being keep_ratio x M; 0: unstructured."""
    metric: Literal["magnitude", "wanda"] = "wanda"
    """What a weight is worth."""

    def score(self, linear: LinearView) -> Tensor:
        """Return the metric's score."""
        return ast_score(linear.weight, linear.input_squares, self.metric)
