"""Magnitude pruning with a sparsity of its own for each of two components.

Ramesh and Zhao 2024, arXiv:2411.15113: of Stable Diffusion 2 the text encoder is pruned more than
the generator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.static.base import LinearView, ModelView
from algos.weight.allocate import clip, meet_budget
from algos.weight.base import WeightMethod, WeightPlan, prunable
from algos.weight.magnitude import magnitude_score
from algos.weight.pattern import keep_matrix

if TYPE_CHECKING:
    from torch import Tensor

FIRST, SECOND = 0.475, 0.35  # sparsity of text encoder and generator: abstract
LEAST = 0.001  # share of a component that is always kept


def component_ratios(sizes: tuple[int, int], keep_ratio: float, excess: float) -> list[float]:
    """Return the shares kept of two components whose sparsities stand in a ratio.

    Args:
        sizes: weights of the first and the second.
        keep_ratio: share kept of both together.
        excess: sparsity of the first divided by that of the second, while some of it is kept.
    """

    def ratios_at(kept: float) -> list[float]:
        sparsity = 1 - kept
        return [clip(1 - excess * sparsity, LEAST), clip(1 - sparsity, LEAST)]

    return meet_budget(ratios_at, sizes, keep_ratio, 0.0, 1.0)


class ComponentMagnitude(WeightMethod):
    """Drops the weights of smallest absolute value, more of them in the model's first component.

    From the description: the paper prunes two networks, whose place the first and the later blocks
    of one model take here. Their sparsities have the paper's ratio, 47.5 % to 35 %.
    """

    name: ClassVar[str] = "component-magnitude"
    signal: ClassVar[str] = "absolute value of the weight; ratios by component"
    paper: ClassVar[str] = "Ramesh and Zhao 2024, arXiv:2411.15113"
    parity: ClassVar[Parity] = "description"

    boundary: Fraction = 0.5
    """Share of blocks that are the first component."""
    excess: Annotated[float, Field(gt=0)] = FIRST / SECOND
    """Sparsity of the first component divided by that of the second."""

    def plan(self, model: ModelView) -> WeightPlan:
        """Find the ratio of each component."""
        views = prunable(model)
        split = round(self.boundary * len(model.blocks))
        first = sum(v.weight.numel() for v in views if v.layer < split)
        sizes = first, sum(v.weight.numel() for v in views) - first
        ratios = component_ratios(sizes, self.keep_ratio, self.excess)
        return WeightPlan(ratios={(v.layer, v.name): ratios[v.layer >= split] for v in views})

    def score(self, linear: LinearView) -> Tensor:
        """Return |w|."""
        return magnitude_score(linear.weight)

    def mask(self, score: Tensor, keep_ratio: float, where: str) -> Tensor:
        """Keep the largest of the whole matrix."""
        return keep_matrix(score, keep_ratio)
