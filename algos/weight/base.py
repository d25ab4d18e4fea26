"""What methods share that remove single weights of the matrices of all blocks.

The router of a mixture is never pruned. How many weights a matrix keeps, which are the best of it
or which of them stay can be planned for the whole model; else each matrix is pruned when its
block's turn comes, and keeps `keep_ratio` of its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import WorkloadKind
from algos.static.base import (
    BlockPruning,
    BlockView,
    LinearView,
    ModelView,
    PrunedWeight,
    StaticMethod,
)
from algos.weight.pattern import check_score, keep_global, keep_largest, keep_rows
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Generator, Tensor

Place = tuple[int, str]  # layer and name of a matrix


@dataclass(frozen=True, kw_only=True)
class WeightPlan:
    """What is decided for the whole model, by matrix; what is missing is decided on its turn."""

    ratios: Mapping[Place, float] = field(default_factory=dict)  # share of weights kept
    scores: Mapping[Place, Tensor] = field(default_factory=dict)
    masks: Mapping[Place, Tensor] = field(default_factory=dict)
    generator: Generator | None = None  # for methods that draw numbers block by block


class WeightMethod(StaticMethod):
    """Removes weights one by one.

    Of a vision-language model it prunes the language model.
    """

    family: ClassVar[str] = "weight"
    granularity: ClassVar[str] = "weight"
    trace_kind: ClassVar[str] = "weights, unstructured"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("sentences", "text", "images", "questions")

    def score(self, linear: LinearView) -> Tensor:
        """Return what each weight (outputs, inputs) is worth."""
        raise NotImplementedError

    def mask(self, score: Tensor, keep_ratio: float, where: str) -> Tensor:
        """Return which weights are kept: the same number for each output."""
        return keep_rows(score, keep_ratio)

    def plan(self, model: ModelView) -> WeightPlan:
        """Decide nothing for the whole model."""
        return WeightPlan()

    def prune_linear(self, linear: LinearView, plan: WeightPlan) -> PrunedWeight:
        """Return one matrix with the weights of largest score, unchanged."""
        place = linear.layer, linear.name
        mask = plan.masks.get(place)
        if mask is None:
            score = plan.scores[place] if place in plan.scores else self.score(linear)
            check_score(score, linear.where)
            mask = self.mask(score, plan.ratios.get(place, self.keep_ratio), linear.where)
        return self.pruned(linear.weight * mask)

    def pruned(self, weight: Tensor) -> PrunedWeight:
        """Return a matrix with its pattern."""
        return PrunedWeight(weight=weight)

    def prune_block(self, block: BlockView, plan: Any) -> BlockPruning:
        """Prune all matrices of a block but a router."""
        weights = {
            name: self.prune_linear(linear, plan)
            for name, linear in block.linears.items()
            if linear.operator != "router"
        }
        return BlockPruning(weights=weights)


class GroupedMethod(WeightMethod):
    """Removes weights one by one, or the same number of every group of neighbouring inputs."""

    group: Annotated[int, Field(ge=0, le=256)] = 0
    """Inputs M of a group of an N:M pattern, N being keep_ratio x M; 0: unstructured."""

    def mask(self, score: Tensor, keep_ratio: float, where: str) -> Tensor:
        """Return which weights are kept, of each group or as `whole_mask` says."""
        if not self.group:
            return self.whole_mask(score, keep_ratio)
        return keep_largest(score, self.kept_of_group, self.group, where)

    def whole_mask(self, score: Tensor, keep_ratio: float) -> Tensor:
        """Return which weights are kept without groups: the same number for each output."""
        return keep_rows(score, keep_ratio)

    def pruned(self, weight: Tensor) -> PrunedWeight:
        """Return a matrix with its pattern."""
        if not self.group:
            return PrunedWeight(weight=weight)
        return PrunedWeight(weight=weight, pattern="n:m", n=self.kept_of_group, m=self.group)

    @property
    def kept_of_group(self) -> int:
        """Return N of the N:M pattern.

        Raises:
            InputError: it is no whole number.
        """
        n = round(self.keep_ratio * self.group)
        if not n or abs(n - self.keep_ratio * self.group) > 1e-6:
            raise InputError(
                f"{self.name} keep_ratio must keep a whole number of each group of {self.group}, "
                f"not {self.keep_ratio}"
            )
        return n


def prunable(model: ModelView) -> list[LinearView]:
    """Return the matrices of all blocks that are pruned: all but routers."""
    return [view for view in model.linears if view.operator != "router"]


def global_plan(scores: Mapping[Place, Tensor], keep_ratio: float) -> WeightPlan:
    """Return masks that keep the largest scores of all matrices together.

    Raises:
        InputError: a score is not finite.
    """
    for (layer, name), score in scores.items():
        check_score(score, f"layer {layer} {name}")
    masks = keep_global(list(scores.values()), keep_ratio)
    return WeightPlan(masks=dict(zip(scores, masks, strict=True)))
