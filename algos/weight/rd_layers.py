"""Ratios of layers by dynamic programming over measured output distortion.

Xu et al., ICCV 2023, "Efficient joint optimization of layer-adaptive weight pruning in deep neural
networks". The distortion that pruning one matrix alone causes at the model's output adds up over
matrices, so that the best ratios under a budget are a knapsack.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from algos.base import Parity
from algos.static.base import (
    PROBED_TOKENS,
    BlockPruning,
    LinearView,
    ModelView,
    Outcome,
    PrunedWeight,
    Pruning,
)
from algos.weight.base import WeightMethod, WeightPlan, prunable
from algos.weight.magnitude import magnitude_score
from algos.weight.pattern import keep_matrix
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def best_levels(distortion: FloatArray, sizes: list[int], keep_ratio: float) -> list[int]:
    """Return the level of each matrix, 1 to levels, of least distortion within the budget.

    Args:
        distortion: (matrices, levels); column j is that of keeping (j + 1) / levels of the weights.
        sizes: weights of each matrix.
        keep_ratio: share kept of all.

    Raises:
        InputError: even the lowest level of all matrices is above the budget.
    """
    matrices, levels = distortion.shape
    unit = math.gcd(*sizes)
    costs = [size // unit for size in sizes]  # of one level
    budget = math.floor(keep_ratio * levels * sum(costs) + 1e-9)
    if budget < sum(costs):
        raise InputError(f"keep_ratio must be at least 1 / {levels} levels, not {keep_ratio:g}")
    least = np.zeros(budget + 1)  # distortion of the matrices so far, by units spent
    choices = []
    for i in range(matrices):
        options = np.full((levels, budget + 1), np.inf)
        for j in range(levels):
            cost = (j + 1) * costs[i]
            if cost <= budget:
                options[j, cost:] = least[: budget + 1 - cost] + distortion[i, j]
        choices.append(options.argmin(0))
        least = options.min(0)
    spent, found = budget, []
    for i in reversed(range(matrices)):
        found.append(int(choices[i][spent]) + 1)
        spent -= found[-1] * costs[i]
    return found[::-1]


class RdLayers(WeightMethod):
    """Drops the smallest weights of each matrix, so many that the output changes least.

    A matrix keeps a whole number of `levels`: the model keeps at most the budget, and less by at
    most one level of one matrix. It is measured on at most 2048 tokens of text, an own choice.
    """

    name: ClassVar[str] = "rd-layers"
    signal: ClassVar[str] = "absolute value of the weight; output distortion measured by matrix"
    paper: ClassVar[str] = "Xu et al., ICCV 2023, arXiv:2308.10438"
    training: ClassVar[str] = "calibration samples"
    parity: ClassVar[Parity] = "hand"
    calibration_tokens: ClassVar[int | None] = PROBED_TOKENS

    levels: Annotated[int, Field(ge=2, le=100)] = 5
    """Ratios that are measured for each matrix: 1 / levels to 1."""

    def plan(self, model: ModelView) -> WeightPlan:
        """Measure every matrix at every level and find the best levels."""
        views = prunable(model)
        distortion = np.array(
            [[self._distortion(model, v, j) for j in range(1, self.levels + 1)] for v in views]
        )
        sizes = [view.weight.numel() for view in views]
        found = best_levels(distortion, sizes, self.keep_ratio)
        pairs = zip(views, found, strict=True)
        return WeightPlan(ratios={(v.layer, v.name): level / self.levels for v, level in pairs})

    def score(self, linear: LinearView) -> Tensor:
        """Return |w|."""
        return magnitude_score(linear.weight)

    def mask(self, score: Tensor, keep_ratio: float, where: str) -> Tensor:
        """Keep the largest of the whole matrix."""
        return keep_matrix(score, keep_ratio)

    def _distortion(self, model: ModelView, view: LinearView, level: int) -> float:
        if level == self.levels:
            return 0.0
        mask = self.mask(self.score(view), level / self.levels, view.where)
        weights = {view.name: PrunedWeight(weight=view.weight * mask)}
        pruning = Pruning.only(len(model.blocks), {view.layer: BlockPruning(weights=weights)})
        return output_distortion(model.probe(pruning), model.dense)


def output_distortion(found: Outcome, dense: Outcome) -> float:
    """Return the mean over samples of the mean squared difference of outputs."""
    pairs = zip(found.outputs, dense.outputs, strict=True)
    return sum(float((x - y).square().mean()) for x, y in pairs) / len(dense.outputs)
