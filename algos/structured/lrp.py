"""Pruning by explaining: structures that carry no relevance are pruned.

Yeom et al., Pattern Recognition 2021, arXiv:1912.08881. Relevance is what layer-wise relevance
propagation (Bach et al., PLoS ONE 2015) brings from the output to a unit; where a network is
piecewise linear that is, with a stabiliser of 0, the unit times the gradient by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.static.base import BlockView, LinearView, ModelView, Need, Pruning
from algos.structured.base import StructuredMethod, plain, pruned, sizes_of, stacked
from algos.structured.budget import global_masks

if TYPE_CHECKING:
    from torch import Tensor


def sample_relevance(inputs: Tensor, gradient: Tensor, units: int) -> Tensor:
    """Return what each unit (units,) gives to the outcome of one sample, with its sign.

    Args:
        inputs: (tokens, units * channels).
        gradient: of the outcome by the inputs.
        units: heads, or neurons with one channel each.
    """
    return (inputs * gradient).sum(0).view(units, -1).sum(1)


class PruningByExplaining(StructuredMethod):
    """Keep the heads and neurons that carry most relevance a weight.

    From the description: relevance is input times gradient of the loss, summed over the tokens of
    a sample; a unit has the mean over samples of its absolute value, divided by the unit's
    weights, and all units compete. One pass: relevance is not measured again between steps.
    Budget: short of it by less than one head.
    """

    name: ClassVar[str] = "lrp"
    signal: ClassVar[str] = "relevance propagated from the outcome"
    paper: ClassVar[str] = "Yeom et al., Pattern Recognition 2021, arXiv:1912.08881"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"input_gradients"})

    def plan(self, model: ModelView) -> Pruning:
        """Rank all units by relevance a weight."""
        sizes = sizes_of(model.shape)
        head_cost = sizes.attention / sizes.heads

        def score(block: BlockView) -> tuple[Tensor, Tensor]:
            heads = _relevance(block.linears["output"], sizes.heads) / head_cost
            return heads, _relevance(plain(block, "down"), sizes.neurons) / sizes.neuron_cost

        return pruned(global_masks(*stacked(model, score), sizes, self.keep_ratio))


def _relevance(matrix: LinearView, units: int) -> Tensor:
    import torch

    assert matrix.input_gradients is not None
    pairs = zip(matrix.samples, matrix.input_gradients, strict=True)
    return torch.stack([sample_relevance(x, g, units).abs() for x, g in pairs]).mean(0)
