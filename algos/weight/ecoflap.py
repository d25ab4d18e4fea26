"""ECoFLaP: layers get ratios by their global importance, then are pruned on their own.

Sung et al., ICLR 2024, arXiv:2310.02998. The importance comes from forward passes alone: the loss
is measured with a layer's weights moved a little to both sides along a random direction.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.static.base import (
    PROBED_TOKENS,
    BlockPruning,
    BlockView,
    LinearView,
    ModelView,
    Need,
    PrunedWeight,
    Pruning,
)
from algos.weight.allocate import clip, meet_budget
from algos.weight.base import WeightMethod, WeightPlan, prunable
from algos.weight.wanda import wanda_score

if TYPE_CHECKING:
    from torch import Tensor


def ecoflap_ratios(
    importance: list[float], sizes: list[int], keep_ratio: float, margin: float
) -> list[float]:
    """Return the share kept of each layer: proportional to its importance, within bounds.

    Args:
        importance: of each layer, not negative.
        sizes: weights of each layer.
        keep_ratio: share kept of all.
        margin: no layer is sparser than the whole by more.
    """
    low, largest = max(keep_ratio - margin, 0.0), max(importance)
    parts = [x / largest for x in importance] if largest else [1.0] * len(importance)
    least = min(part for part in parts if part > 0)
    return meet_budget(
        lambda at: [clip(at * part, low) for part in parts], sizes, keep_ratio, 0.0, 1 / least
    )


class EcoFlap(WeightMethod):
    """Drops weights by Wanda's score, fewer of them in layers that the loss depends on.

    From the description: a layer is a transformer block, its importance the root mean square over
    directions of the loss's slope along one (which estimates the norm of its gradient), times the
    mean absolute weight. An output keeps the next whole number of weights. At most 2048 tokens of
    text are read, an own choice.
    """

    name: ClassVar[str] = "ecoflap"
    signal: ClassVar[str] = "slope of the loss along random directions; Wanda's score in a layer"
    paper: ClassVar[str] = "Sung et al., ICLR 2024, arXiv:2310.02998"
    training: ClassVar[str] = "calibration samples with a loss"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"block_inputs"})
    calibration_tokens: ClassVar[int | None] = PROBED_TOKENS

    directions: Annotated[int, Field(ge=1)] = 8
    """Random directions for each layer; of few of them the estimate is mostly noise."""
    step: Annotated[float, Field(gt=0)] = 1e-3
    """Length of a step, by which normal random numbers are scaled."""
    margin: Fraction = 0.1
    """How much sparser than the whole a layer may be."""

    def plan(self, model: ModelView) -> WeightPlan:
        """Find the ratio of each layer."""
        views = prunable(model)
        importance = [self._importance(model, block) for block in model.blocks]
        sizes = [sum(v.weight.numel() for v in views if v.layer == b.layer) for b in model.blocks]
        ratios = ecoflap_ratios(importance, sizes, self.keep_ratio, self.margin)
        return WeightPlan(ratios={(v.layer, v.name): ratios[v.layer] for v in views})

    def score(self, linear: LinearView) -> Tensor:
        """Return |w| * norm of the input."""
        return wanda_score(linear.weight, linear.input_squares)

    def _importance(self, model: ModelView, block: BlockView) -> float:
        import torch

        views = [view for view in block.linears.values() if view.operator != "router"]
        squares = 0.0
        for _ in range(self.directions):
            draws = [torch.randn(v.weight.shape, generator=model.generator) for v in views]
            up, down = (
                model.probe(_moved(model, block, views, [side * self.step * d for d in draws])).loss
                for side in (1, -1)
            )
            squares += ((up - down) / (2 * self.step)) ** 2 / self.directions
        weights = torch.cat([view.weight.abs().reshape(-1) for view in views])
        return math.sqrt(squares) * float(weights.mean())


def _moved(
    model: ModelView, block: BlockView, views: list[LinearView], steps: list[Tensor]
) -> Pruning:
    weights = {
        view.name: PrunedWeight(weight=view.weight + step, pattern="dense")
        for view, step in zip(views, steps, strict=True)
    }
    return Pruning.only(len(model.blocks), {block.layer: BlockPruning(weights=weights)})
