"""Magnitude of structures: a neuron or head is worth the L2 norm of all its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.static.base import BlockView, ModelView, Pruning
from algos.structured.base import StructuredMethod, group_rows, pruned, sizes_of, stacked
from algos.structured.budget import local_masks
from algos.structured.groups import Rows

if TYPE_CHECKING:
    from torch import Tensor


def group_norm(rows: Rows) -> Tensor:
    """Return the L2 norm (units,) of the weights of each coupled group."""
    import torch

    return torch.stack([x.float().square().sum(1) for x in rows]).sum(0).sqrt()


class MagnitudeStructures(StructuredMethod):
    """Keep the heads and neurons of each layer with the largest weights.

    The control for every signal from data. Every layer keeps the same share of its weights, short
    of it by less than one neuron.
    """

    name: ClassVar[str] = "magnitude-structures"
    signal: ClassVar[str] = "norm of the weights"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def plan(self, model: ModelView) -> Pruning:
        """Keep the largest of each layer."""

        def score(block: BlockView) -> tuple[Tensor, Tensor]:
            heads, neurons = group_rows(block, lambda matrix: matrix.weight)
            return group_norm(heads), group_norm(neurons)

        ratios = [self.keep_ratio] * len(model.blocks)
        return pruned(local_masks(*stacked(model, score), sizes_of(model.shape), ratios))
