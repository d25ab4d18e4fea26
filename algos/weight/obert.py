"""oBERT: second-order pruning with the empirical Fisher matrix in blocks.

Kurtic et al., EMNLP 2022, arXiv:2203.07259. The Fisher matrix F = damp * I + 1/m sum g g^T of m
gradients is inverted in diagonal blocks by the Sherman-Morrison formula, one gradient at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.static.base import LinearView, ModelView, Need, PrunedWeight
from algos.weight.base import Place, WeightMethod, WeightPlan, global_plan, prunable

if TYPE_CHECKING:
    from torch import Tensor


def inverse_fisher(gradients: Tensor, block: int, damp: float) -> Tensor:
    """Return the blocks (blocks, block, block) of F^-1.

    Args:
        gradients: (m, weights), one a sample; the last block is filled up with zeros.
        block: weights of a block.
        damp: added to the diagonal of F.
    """
    import torch

    samples, weights = gradients.shape
    blocks = -(-weights // block)
    padded = torch.nn.functional.pad(gradients, (0, blocks * block - weights))
    inverse = torch.eye(block, dtype=gradients.dtype).repeat(blocks, 1, 1) / damp
    for gradient in padded.view(samples, blocks, block):
        product = torch.einsum("bij,bj->bi", inverse, gradient)
        scale = samples + (gradient * product).sum(1)
        inverse -= product[:, :, None] * (product / scale[:, None])[:, None, :]
    return inverse


def saliency(weight: Tensor, inverse: Tensor) -> Tensor:
    """Return w^2 / (2 [F^-1]_ii) of weights of any shape: the loss that removing each one costs."""
    return weight.square() / (2 * _diagonal(weight, inverse))


def compensated(weight: Tensor, mask: Tensor, inverse: Tensor) -> Tensor:
    """Return the weights after those outside `mask` are removed and the others adjusted.

    Each removal moves the rest by -F^-1 e_p w_p / [F^-1]_pp as if it were the only one.
    """
    import torch

    gone = torch.where(mask, 0.0, weight / _diagonal(weight, inverse)).reshape(-1)
    blocks, block, _ = inverse.shape
    padded = torch.nn.functional.pad(gone, (0, blocks * block - len(gone))).view(blocks, block)
    change = torch.einsum("bij,bj->bi", inverse, padded).reshape(-1)[: len(gone)]
    return (weight - change.view_as(weight)) * mask


def _diagonal(weight: Tensor, inverse: Tensor) -> Tensor:
    diagonal = inverse.diagonal(dim1=1, dim2=2).reshape(-1)[: weight.numel()]
    return diagonal.reshape(weight.shape)


class OBert(WeightMethod):
    """Drops the weights of the model whose removal costs the loss least, and adjusts the rest.

    One-shot: the paper prunes gradually while it fine-tunes. It uses 1024 gradients, here as many
    as there are calibration samples. Sums are float64: with so little damping float32 loses them.
    """

    name: ClassVar[str] = "obert"
    signal: ClassVar[str] = "squared weight over the diagonal of the inverse Fisher matrix"
    paper: ClassVar[str] = "Kurtic et al., EMNLP 2022, arXiv:2203.07259"
    training: ClassVar[str] = "calibration samples with a loss"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"sample_gradients"})

    block: Annotated[int, Field(ge=1, le=1024)] = 50
    """Weights of a block of the Fisher matrix."""
    damp: Annotated[float, Field(gt=0)] = 1e-7
    """Added to the diagonal of the Fisher matrix."""

    def plan(self, model: ModelView) -> WeightPlan:
        """Rank the weights of all matrices together."""
        scores: dict[Place, Tensor] = {}
        for linear in prunable(model):
            score = saliency(linear.weight.double(), self._inverse(linear))
            scores[linear.layer, linear.name] = score.float()
        return global_plan(scores, self.keep_ratio)

    def prune_linear(self, linear: LinearView, plan: WeightPlan) -> PrunedWeight:
        """Remove the weights outside the mask and adjust the others."""
        mask = plan.masks[linear.layer, linear.name]
        found = compensated(linear.weight.double(), mask, self._inverse(linear))
        return PrunedWeight(weight=found.float())

    def _inverse(self, linear: LinearView) -> Tensor:
        import torch

        gradients = torch.stack([g.reshape(-1) for g in linear.gradient_samples]).double()
        return inverse_fisher(gradients, self.block, self.damp)
