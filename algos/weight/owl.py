"""OWL: layers with many outliers keep more weights.  Yin et al., ICML 2024, arXiv:2310.05175."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.static.base import LinearView, ModelView, Need
from algos.weight.allocate import clip, meet_budget
from algos.weight.base import WeightMethod, WeightPlan, prunable
from algos.weight.wanda import wanda_score

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 0.001  # share of a layer that is always kept


def outlier_share(scores: Tensor, multiple: float) -> float:
    """Return the share of a layer's scores that are above a multiple of their mean."""
    return float((scores > multiple * scores.mean()).float().mean())


def owl_ratios(
    outliers: list[float], sizes: list[int], keep_ratio: float, spread: float
) -> list[float]:
    """Return the share kept of each layer: linear in its share of outliers.

    Args:
        outliers: share of each layer.
        sizes: weights of each layer.
        keep_ratio: share kept of all.
        spread: lambda; between the layers of fewest and of most outliers lie 2 * lambda.
    """
    low, high = min(outliers), max(outliers)
    scale = 2 * spread / (high - low) if high > low else 0.0
    return meet_budget(
        lambda at: [clip(at + scale * (share - low), LEAST) for share in outliers],
        sizes,
        keep_ratio,
        -2 * spread,
        1.0,
    )


class Owl(WeightMethod):
    """Drops weights by Wanda's score, fewer of them in layers that have many outliers.

    Outliers are counted in the dense model. An output keeps the next whole number of weights.
    """

    name: ClassVar[str] = "owl"
    signal: ClassVar[str] = "absolute weight times norm of its input; outliers of a layer"
    paper: ClassVar[str] = "Yin et al., ICML 2024, arXiv:2310.05175"
    training: ClassVar[str] = "calibration samples"
    parity: ClassVar[Parity] = "hand"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs", "block_inputs"})

    multiple: Annotated[float, Field(gt=0)] = 5.0
    """A score is an outlier above so many times the layer's mean."""
    spread: Fraction = 0.08
    """Lambda: how far a layer's ratio may lie from the mean of both extremes."""

    def plan(self, model: ModelView) -> WeightPlan:
        """Find the ratio of each layer."""
        import torch

        views = prunable(model)
        outliers, sizes = [], []
        for block in model.blocks:
            scores = [self.score(v).reshape(-1) for v in views if v.layer == block.layer]
            outliers.append(outlier_share(torch.cat(scores), self.multiple))
            sizes.append(sum(len(score) for score in scores))
        ratios = owl_ratios(outliers, sizes, self.keep_ratio, self.spread)
        return WeightPlan(ratios={(v.layer, v.name): ratios[v.layer] for v in views})

    def score(self, linear: LinearView) -> Tensor:
        """Return |w| * norm of the input."""
        return wanda_score(linear.weight, linear.input_squares)
