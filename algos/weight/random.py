"""Random weights: the control that says whether a score of weights is worth anything."""

from __future__ import annotations

from typing import ClassVar

from algos.base import Parity
from algos.static.base import ModelView
from algos.weight.base import GroupedMethod, WeightPlan, prunable
from algos.weight.magnitude import random_score


class RandomWeights(GroupedMethod):
    """Drops weights of each output at random: the control of the family."""

    name: ClassVar[str] = "random-weights"
    signal: ClassVar[str] = "uniform random numbers"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def plan(self, model: ModelView) -> WeightPlan:
        """Draw the scores of all matrices."""
        drawn = {
            (v.layer, v.name): random_score(v.weight, model.generator) for v in prunable(model)
        }
        return WeightPlan(scores=drawn)
