"""COMP: whole layers first, then neurons by how ill-conditioned they leave a matrix.

Xu et al., arXiv:2501.15255: layers go by importance, neurons of the dense layers that stay by a
metric of the matrix's condition, and the masks of the neurons kept are tuned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Fraction, Parity
from algos.layer.shortgpt import block_influence
from algos.static.base import BlockPruning, BlockView, LinearView, ModelView, Need, Pruning
from algos.static.planned import by_block
from algos.structured.base import (
    StructuredMethod,
    by_head,
    plain,
    pruned,
    refitted,
    sizes_of,
    stacked,
)
from algos.structured.budget import local_masks

if TYPE_CHECKING:
    from torch import Tensor


def condition_scores(weight: Tensor, moments: Tensor) -> Tensor:
    """Return each input's share (columns,) of the condition of the product.

    A change of input j by a share changes the outputs by |x_j| |w_j| / |y| of that share, so this
    is the part of the product's condition number that j is answerable for.

    Args:
        weight: (outputs, columns).
        moments: (columns, columns) sum over tokens of x x^T.
    """
    energy = ((weight @ moments) * weight).sum().clamp_min(1e-30)
    return (moments.diagonal() * weight.square().sum(0) / energy).sqrt()


def tuned_mask(weight: Tensor, moments: Tensor, keep: Tensor) -> Tensor:
    """Return the factors (columns,) of the kept inputs that bring the outputs nearest to the whole.

    Least squares over one factor an input: minimises the squared change of x W^T.

    Args:
        weight: (outputs, columns).
        moments: (columns, columns) sum over tokens of x x^T.
        keep: (columns,) bool; where false the factor is 0.
    """
    import torch

    system = (moments * (weight.T @ weight)).double()
    wanted = system.sum(1)[keep]
    inner = system[keep][:, keep]
    inner = inner + 1e-6 * inner.diagonal().mean() * torch.eye(len(inner), dtype=inner.dtype)
    factors = torch.zeros(len(keep), dtype=torch.float64)
    factors[keep] = torch.linalg.solve(inner, wanted)
    return factors.to(weight.dtype)


class Comp(StructuredMethod):
    """Keep whole the layers that change most, and in them the inputs that matter to the condition.

    From the description: a layer is worth 1 - cosine of its input and output; an input of the
    output or down projection its share of the product's condition number, a head the root of the
    sum of squares of its channels; kept inputs are scaled by least squares, which the weights
    take in. Budget: the layers that stay keep equal shares; short of it by less than one
    neuron a layer.
    """

    name: ClassVar[str] = "comp"
    signal: ClassVar[str] = "cosine of layers, condition of matrices"
    paper: ClassVar[str] = "Xu et al., arXiv:2501.15255"
    granularity: ClassVar[str] = "layers, then heads and neurons"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs", "hidden"})

    layer_share: Fraction = 0.5
    """Share of what is pruned that whole layers give, rounded down to layers; an estimate."""

    def plan(self, model: ModelView) -> Pruning:
        """Drop layers, prune the others, tune the masks."""
        layers = len(model.blocks)
        influence = by_block(model, lambda *pair: block_influence(*pair).mean())
        count = int(self.layer_share * (1 - self.keep_ratio) * layers + 1e-9)
        dropped = set(influence.argsort(stable=True)[:count].tolist())
        ratio = self.keep_ratio * layers / (layers - count)
        ratios = [0.0 if layer in dropped else ratio for layer in range(layers)]
        masks = local_masks(*stacked(model, _scores), sizes_of(model.shape), ratios)
        gone = BlockPruning(skip_attention=True, skip_ffn=True)
        parts = zip(model.blocks, pruned(masks).blocks, strict=True)
        return Pruning(
            blocks=tuple(
                gone if block.layer in dropped else refitted(block, part, _scaled)
                for block, part in parts
            )
        )


def _scores(block: BlockView) -> tuple[Tensor, Tensor]:
    output, down = block.linears["output"], plain(block, "down")
    heads = by_head(condition_scores(output.weight, output.hessian).square(), block.shape.heads)
    return heads.sqrt(), condition_scores(down.weight, down.hessian)


def _scaled(matrix: LinearView, keep: Tensor) -> Tensor:
    return matrix.weight * tuned_mask(matrix.weight, matrix.hessian, keep)
