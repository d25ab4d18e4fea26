"""LLM-Pruner: coupled structures scored by a Taylor expansion of the loss.

Ma et al., NeurIPS 2023, arXiv:2305.11627, section 3.2. Gradients are of the loss on a few samples;
the diagonal of the Hessian is the sum over samples of squared gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from algos.base import Fraction, Parity
from algos.static.base import BlockView, ModelView, Need, Pruning
from algos.structured.base import StructuredMethod, group_rows, pruned, sizes_of, stacked
from algos.structured.budget import local_masks, ratios_by_layer
from algos.structured.groups import Rows

if TYPE_CHECKING:
    from torch import Tensor

Order = Literal["vectorize", "param_first", "param_second", "param_mix"]


def taylor_score(weights: Rows, gradients: Rows, squares: Rows | None, order: Order) -> Tensor:
    """Return the score (units,) of each coupled group, summed over its matrices.

    vectorize: |sum of w g| in each matrix; param_first: sum of |w g|; param_second: sum of
    w^2 h; param_mix: sum of |w g - w^2 h / 2|.

    Args:
        weights: of the groups.
        gradients: as weights.
        squares: h, sums over samples of squared gradients; None for the first two orders.
        order: which terms.
    """
    import torch

    scores = []
    for number, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        first = weight * gradient
        if order == "vectorize":
            scores.append(first.sum(1).abs())
            continue
        if order == "param_first":
            term = first
        else:
            assert squares is not None
            second = weight.square() * squares[number]
            term = second if order == "param_second" else first - second / 2
        scores.append(term.abs().sum(1))
    return torch.stack(scores).sum(0)


class LlmPruner(StructuredMethod):
    """Keep the heads and neurons of each layer whose removal the loss would feel most.

    Differences: one range of whole layers serves heads and neurons (the authors' end at other
    layers for the two), and nothing is fine-tuned afterwards. Budget: the layers that are
    not whole make up for those that are; short of it by less than one neuron a layer.
    """

    name: ClassVar[str] = "llm-pruner"
    signal: ClassVar[str] = "weights times gradients"
    paper: ClassVar[str] = "Ma et al., NeurIPS 2023, arXiv:2305.11627"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})

    order: Order = "param_first"
    """Terms of the expansion; param_first is the authors' default."""
    whole_first: Fraction = 0.125
    """Share of the layers, the first ones, that stay whole: 4 of 32 in the paper; rounded."""
    whole_last: Fraction = 0.0625
    """Share of the layers, the last ones, that stay whole: 2 of 32 in the paper; rounded."""

    def plan(self, model: ModelView) -> Pruning:
        """Score the coupled groups; every layer that is not whole keeps the same share."""

        def score(block: BlockView) -> tuple[Tensor, Tensor]:
            weights = group_rows(block, lambda matrix: matrix.weight)
            first = group_rows(block, lambda matrix: matrix.gradient_sum)
            squares = group_rows(block, lambda matrix: matrix.gradient_square_sum)
            groups = zip(weights, first, squares, strict=True)
            heads, neurons = (taylor_score(w, g, h, self.order) for w, g, h in groups)
            return heads, neurons

        layers = len(model.blocks)
        last = layers - round(self.whole_last * layers)
        whole = [i for i in range(layers) if i < round(self.whole_first * layers) or i >= last]
        ratios = ratios_by_layer(self.keep_ratio, layers, whole)
        return pruned(local_masks(*stacked(model, score), sizes_of(model.shape), ratios))
