"""OPTIN: a structure is worth what later layers lose without it.

Khaki and Plataniotis, ICLR 2024, arXiv:2403.17921: the error between the hidden states of the
model with and without the structure, along the layers that follow (the trajectory).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.static.base import PROBED_TOKENS, BlockPruning, ModelView, Outcome, Pruning
from algos.structured.base import StructuredMethod, plain, pruned, sizes_of
from algos.structured.budget import global_masks

if TYPE_CHECKING:
    from torch import Tensor


def relations(hidden: Tensor) -> Tensor:
    """Return the cosines (samples, tokens, tokens) between the tokens of (samples, tokens, h)."""
    from torch.nn.functional import normalize

    unit = normalize(hidden, dim=-1)
    return unit @ unit.transpose(1, 2)


def trajectory_error(dense: Tensor, pruned: Tensor) -> float:
    """Return the mean squared difference of the tokens' relations, summed over layers.

    Args:
        dense: (layers, samples, tokens, hidden) after each of the layers that follow.
        pruned: the same without the structure.
    """
    pairs = zip(dense, pruned, strict=True)
    return float(sum((relations(a) - relations(b)).square().mean() for a, b in pairs))


class Optin(StructuredMethod):
    """Keep the heads and neurons whose loss would disturb later layers most, for their weights.

    From the description: the error is that of the cosines between tokens, and neurons are measured
    some at a time, on at most 2048 tokens of text (own choice). Differences: the budget is of
    weights, not of operations, which differ by the attention products; the paper's term of the
    logits is left out. Budget: short of it by less than one head.
    """

    name: ClassVar[str] = "optin"
    signal: ClassVar[str] = "error of later hidden states without a unit"
    paper: ClassVar[str] = "Khaki and Plataniotis, ICLR 2024, arXiv:2403.17921"
    parity: ClassVar[Parity] = "description"
    calibration_tokens: ClassVar[int | None] = PROBED_TOKENS

    neurons_at_once: Annotated[int, Field(ge=1)] = 64
    """Neighbouring neurons measured together, each set a run of the calibration samples."""

    def plan(self, model: ModelView) -> Pruning:
        """Measure each unit alone, then rank the errors a weight."""
        import torch

        sizes, layers = sizes_of(model.shape), len(model.blocks)
        heads = torch.zeros(layers, sizes.heads)
        neurons = torch.zeros(layers, sizes.neurons)
        for block in model.blocks:
            plain(block, "down")
            for head in range(sizes.heads):
                keep = torch.arange(sizes.heads) != head
                error = _error(model, block.layer, BlockPruning(heads=keep))
                heads[block.layer, head] = error * sizes.heads / sizes.attention
            for first in range(0, sizes.neurons, self.neurons_at_once):
                gone = slice(first, first + self.neurons_at_once)
                keep = torch.ones(sizes.neurons, dtype=torch.bool)
                keep[gone] = False
                error = _error(model, block.layer, BlockPruning(neurons=keep))
                cost = int((~keep).sum()) * sizes.neuron_cost
                neurons[block.layer, gone] = error / cost
        return pruned(global_masks(heads, neurons, sizes, self.keep_ratio))


def _error(model: ModelView, layer: int, block: BlockPruning) -> float:
    """Return the mean over samples of the error along the layers from the pruned one on."""
    found = model.probe(Pruning.only(len(model.blocks), {layer: block}))
    pairs = zip(_trajectories(model.dense, layer), _trajectories(found, layer), strict=True)
    return sum(trajectory_error(a, b) for a, b in pairs) / model.samples


def _trajectories(outcome: Outcome, layer: int) -> list[Tensor]:
    """Return for each sample its states (layers, 1, tokens, hidden) from a layer on."""
    import torch

    return [torch.stack(states)[:, None] for states in zip(*outcome.hidden[layer:], strict=True)]
