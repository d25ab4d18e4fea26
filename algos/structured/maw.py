"""MAW: a gated neuron is worth its largest weights.  Martra 2025, arXiv:2512.22671."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.selection import keep_count
from algos.static.base import ModelView, Pruning
from algos.structured.base import StructuredMethod, plain
from algos.structured.budget import best_neurons

if TYPE_CHECKING:
    from torch import Tensor


def neuron_scores(gate: Tensor | None, up: Tensor) -> Tensor:
    """Return max |w| of each neuron's row of `gate` plus that of `up`, both (neurons, hidden)."""
    largest = up.abs().amax(1)
    return largest if gate is None else largest + gate.abs().amax(1)


class Maw(StructuredMethod):
    """Keep the neurons whose gate and up weights reach furthest; no data is needed.

    From the description: the maximum absolute weights of gate and up are added. A layer without a
    gate has those of up alone. `keep_ratio` is the share of each layer's neurons, rounded down to
    at least one; heads stay.
    """

    name: ClassVar[str] = "maw"
    signal: ClassVar[str] = "largest weights of gate and up"
    paper: ClassVar[str] = "Martra 2025, arXiv:2512.22671"
    granularity: ClassVar[str] = "neurons"
    parity: ClassVar[Parity] = "description"

    def plan(self, model: ModelView) -> Pruning:
        """Rank the neurons of each layer."""
        import torch

        scores = []
        for block in model.blocks:
            gate = block.linears.get("gate")
            up = plain(block, "up").weight
            scores.append(neuron_scores(None if gate is None else gate.weight, up))
        score = torch.stack(scores)
        counts = [keep_count(self.keep_ratio, score.shape[1])] * len(score)
        return Pruning.of_masks(neurons=best_neurons(score, counts))
