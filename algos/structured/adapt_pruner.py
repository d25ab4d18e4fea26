"""Adapt-Pruner: small steps, each taken less from the layers that change most.

Wang et al., arXiv:2502.03460. Sparsity is raised a few percent at a time; a layer's part of each
step falls with its importance, the distance of its input from its output.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.layer.shortgpt import block_influence
from algos.selection import check_finite
from algos.static.base import BlockView, ModelView, Need, Pruning
from algos.static.planned import joined
from algos.structured.base import StructuredMethod, group_rows, pruned, sizes_of, stacked
from algos.structured.budget import local_masks
from algos.structured.magnitude import group_norm

if TYPE_CHECKING:
    from torch import Tensor


def step_down(shares: Tensor, importance: Tensor, amount: float, amplitude: float) -> Tensor:
    """Return the shares kept of the layers (layers,) after one step; their mean falls by `amount`.

    Importance (layers,) is scaled to -1..1 and centred; a layer gives `amount` times
    1 - amplitude * importance. What a layer no longer has the others give in equal parts.
    """
    spread = importance.max() - importance.min()
    scaled = 2 * (importance - importance.min()) / spread.clamp_min(1e-12) - 1
    wanted = shares - amount * (1 - amplitude * (scaled - scaled.mean()))
    while bool((wanted < 0).any()):
        owed, able = wanted.clamp_max(0).sum(), wanted > 0
        wanted = (wanted + owed / able.sum().clamp_min(1)) * able
    return wanted


class AdaptPruner(StructuredMethod):
    """Keep the largest heads and neurons of each layer, more of them in layers that change more.

    From the description: importance is 1 - cosine of a layer's input and output in the model
    pruned so far, units are ranked by the norm of their weights, and nothing is trained between
    the steps. Budget: short of it by less than one neuron a layer.
    """

    name: ClassVar[str] = "adapt-pruner"
    signal: ClassVar[str] = "cosine of layers, norm of the weights"
    paper: ClassVar[str] = "Wang et al., arXiv:2502.03460"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"hidden"})

    step: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Largest share of the weights pruned in one step."""
    amplitude: Annotated[float, Field(ge=0, le=0.5)] = 0.5
    """How much a layer's part of a step follows its importance; an estimate."""

    def plan(self, model: ModelView) -> Pruning:
        """Prune in equal steps down to the budget, and look at the layers before each."""
        import torch

        def score(block: BlockView) -> tuple[Tensor, Tensor]:
            heads, neurons = group_rows(block, lambda matrix: matrix.weight)
            return group_norm(heads), group_norm(neurons)

        scores, sizes = stacked(model, score), sizes_of(model.shape)
        shares = torch.ones(len(model.blocks), dtype=torch.float64)
        count = max(1, math.ceil((1 - self.keep_ratio) / self.step - 1e-9))
        found = Pruning.only(len(model.blocks), {})
        for _ in range(count):
            importance = _importance(model, found)
            amount = (1 - self.keep_ratio) / count
            shares = step_down(shares, importance, amount, self.amplitude)
            found = pruned(local_masks(*scores, sizes, shares.tolist()))
        return found


def _importance(model: ModelView, pruning: Pruning) -> Tensor:
    """Return 1 - cosine (layers,) of what enters and leaves each layer of the pruned model.

    Raises:
        InputError: it is not finite.
    """
    import torch

    states = [joined(model.blocks[0].entered), *map(joined, model.probe(pruning).hidden)]
    changes = torch.stack([block_influence(a, b).mean() for a, b in pairwise(states)])
    check_finite(changes[None], "layer", 0)
    return changes.double()
