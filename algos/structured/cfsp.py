"""CFSP: budgets by layer from what each layer changes, neurons by weights and activations.

Wang et al., COLING 2025, arXiv:2409.13199. Only the feed-forward layers are pruned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Parity
from algos.layer.shortgpt import angular_distance
from algos.selection import keep_count
from algos.static.base import BlockView, ModelView, Need, Pruning
from algos.static.planned import by_block
from algos.structured.base import StructuredMethod, plain
from algos.structured.budget import best_neurons

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 1e4  # of the sum over tokens of the angular distance (authors' program)


def neuron_scores(gate: Tensor | None, up: Tensor, down: Tensor, squares: Tensor) -> Tensor:
    """Return the score (neurons,): shares of weights in their neuron, times activations.

    Args:
        gate: (neurons, hidden), None if there is none.
        up: (neurons, hidden).
        down: (hidden, neurons).
        squares: (neurons,) squared norms of the inputs of down.
    """
    import torch

    norm = squares.sqrt()
    columns = [down.abs()] + [x.T.abs() for x in (up, gate) if x is not None]
    shares = [x / x.sum(0).clamp_min(1e-30) for x in columns]  # a dead neuron has none
    shares[0] = shares[0] * norm
    return torch.stack(shares).sum(0).mean(0) * norm


def layer_ratios(importance: Tensor, keep_ratio: float, sharpness: float) -> Tensor:
    """Return the share of neurons kept of each layer (layers,); their mean is `keep_ratio`.

    Args:
        importance: (layers,) sum over tokens of the angular distance of a layer's input and
            output, in units of pi.
        keep_ratio: mean over layers; where a layer would keep more than all, all ratios are drawn
            to the mean until the largest is 1.
        sharpness: of the sigmoid that turns importance into a share; 0: all the same.
    """
    share = (sharpness * (importance - importance.mean()) / SCALE).sigmoid()
    ratio = share / share.mean() * keep_ratio
    largest = ratio.max()
    if float(largest) < 1:
        return ratio
    below = (ratio - keep_ratio) / (largest - keep_ratio).clamp_min(1e-12)
    return keep_ratio + below * (1 - keep_ratio)


def authors_masks(scores: Tensor, ratios: Tensor) -> Tensor:
    """Return the neurons kept (layers, neurons) as the authors' program does: floor + 1 of them."""
    return best_neurons(scores, [int(scores.shape[1] * ratio) + 1 for ratio in ratios.tolist()])


class Cfsp(StructuredMethod):
    """Keep neurons by weights and activations, more of them in layers that change more.

    `keep_ratio` is the share of neurons; heads stay. Budget: short of it by less than one neuron
    a layer; `compat="authors"` keeps one more in each layer.
    """

    name: ClassVar[str] = "cfsp"
    signal: ClassVar[str] = "weight shares times activations, angle of layers"
    paper: ClassVar[str] = "Wang et al., COLING 2025, arXiv:2409.13199"
    granularity: ClassVar[str] = "neurons"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs", "hidden"})

    sharpness: Annotated[float, Field(ge=0)] = 1.0
    """How much ratios follow the layers' importance; 0: not at all."""
    compat: Literal["paper", "authors"] = "paper"
    """Rounding: floor, or floor and one more as in the authors' program."""

    def plan(self, model: ModelView) -> Pruning:
        """Share out the neurons to the layers, then rank them in each."""
        import torch

        scores = torch.stack([_scores_of(block) for block in model.blocks])
        importance = by_block(model, lambda *pair: angular_distance(*pair).double().sum())
        ratios = layer_ratios(importance, self.keep_ratio, self.sharpness)
        if self.compat == "authors":
            return Pruning.of_masks(neurons=authors_masks(scores, ratios))
        counts = [keep_count(ratio, scores.shape[1]) for ratio in ratios.tolist()]
        return Pruning.of_masks(neurons=best_neurons(scores, counts))


def _scores_of(block: BlockView) -> Tensor:
    down = plain(block, "down")
    gate = block.linears.get("gate")
    return neuron_scores(
        None if gate is None else gate.weight,
        block.linears["up"].weight,
        down.weight,
        down.input_squares,
    )
