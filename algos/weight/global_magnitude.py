"""Global magnitude pruning: one threshold for the whole model.

Gupta et al. 2022, arXiv:2209.14624.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Fraction, Parity
from algos.static.base import ModelView
from algos.weight.base import Place, WeightMethod, WeightPlan, global_plan, prunable
from algos.weight.magnitude import magnitude_score
from algos.weight.pattern import keep_matrix
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def protected(score: Tensor, least: float, top: float) -> Tensor:
    """Return scores (rows, columns) of which the largest share `least` is lifted above `top`."""
    if not least:
        return score
    return score + keep_matrix(score, least) * (top + 1)


class GlobalMagnitude(WeightMethod):
    """Drops the weights of smallest absolute value of the whole model.

    A matrix never keeps less than a small share, so that no layer collapses; how small is an
    estimate. One-shot, the paper's simplest variant.
    """

    name: ClassVar[str] = "global-magnitude"
    signal: ClassVar[str] = "absolute value of the weight, compared over the whole model"
    paper: ClassVar[str] = "Gupta et al. 2022, arXiv:2209.14624"
    parity: ClassVar[Parity] = "hand"

    least: Fraction = 0.02
    """Share that every matrix keeps."""

    def plan(self, model: ModelView) -> WeightPlan:
        """Rank the weights of all matrices together.

        Raises:
            InputError: matrices would have to keep more than the budget.
        """
        if self.least > self.keep_ratio:
            raise InputError(
                f"{self.name} least must be at most keep_ratio {self.keep_ratio:g}, "
                f"not {self.least:g}"
            )
        scores = {(v.layer, v.name): magnitude_score(v.weight) for v in prunable(model)}
        top = max(float(score.max()) for score in scores.values())
        lifted: dict[Place, Tensor] = {
            place: protected(score, self.least, top) for place, score in scores.items()
        }
        return global_plan(lifted, self.keep_ratio)
