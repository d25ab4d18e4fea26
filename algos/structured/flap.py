"""FLAP: prune what fluctuates least, and let a bias stand in for its mean.

An et al., AAAI 2024, arXiv:2312.11983. The signal is in `algos.structured.fluctuation`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from algos.base import Parity
from algos.static.base import BlockView, LinearView, ModelView, Need, Pruning
from algos.structured import fluctuation
from algos.structured.base import StructuredMethod, kept_inputs, plain, pruned, sizes_of, stacked
from algos.structured.budget import Masks, check_scores, global_masks, local_masks

if TYPE_CHECKING:
    from torch import Tensor


def authors_adaptive(heads: Tensor, neurons: Tensor, prune_ratio: float, head_dim: int) -> Masks:
    """Return the masks of the authors' program for scores of `adaptive_scores`.

    One threshold for all: the score at which the cost of all that is better or equal comes
    closest to the share kept. What equals the threshold is pruned too. A neuron costs 1 and a head
    4 / 3 of its channels, cut to an integer.
    """
    import torch

    check_scores(heads, neurons)
    score = torch.cat([heads.flatten(), neurons.flatten()])
    ranked, order = score.sort(descending=True, stable=True)
    cost = torch.ones_like(order)
    cost[order < heads.numel()] = 4 * head_dim // 3
    target = cost.sum() * (1 - prune_ratio)
    threshold = ranked[(cost.cumsum(0) - target).abs().argmin()]
    return Masks(heads > threshold, neurons > threshold)


def authors_uniform(output: Tensor, down: Tensor, heads: int, prune_ratio: float) -> Masks:
    """Return the masks of the authors' program with one ratio for every layer (UL-UM).

    Args:
        output: (layers, heads * head_dim) scores; a head has the sum of their squares.
        down: (layers, neurons) scores.
        heads: heads of a layer.
        prune_ratio: share pruned of the heads and of the neurons of each layer, rounded down.
    """
    by_head = fluctuation.uniform_scores(output, heads)
    check_scores(by_head, down)
    masks = []
    for score in (by_head, down):
        at = int(score.shape[1] * prune_ratio)
        masks.append(score >= score.sort(1).values[:, at : at + 1])
    return Masks(*masks)


class Flap(StructuredMethod):
    """Keep heads and neurons whose contribution fluctuates most, globally; a bias makes up.

    Budget: short of it by less than one head. `compat="authors"` measures the fluctuation as the
    authors' program runs it, costs a head 4 / 3 neurons a channel whatever it holds, and cuts at
    the nearest threshold, which may exceed the budget by half a head and one neuron a layer.
    """

    name: ClassVar[str] = "flap"
    signal: ClassVar[str] = "fluctuation of inputs times weights"
    paper: ClassVar[str] = "An et al., AAAI 2024, arXiv:2312.11983"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})

    metric: Literal["WIFV", "WIFN"] = "WIFV"
    """Fluctuation, or norm, of the inputs times the weights."""
    structure: Literal["AL-AM", "UL-UM"] = "AL-AM"
    """One threshold for all, or one ratio for every layer."""
    compat: Literal["paper", "authors"] = "paper"
    """Statistics, costs and rounding of the paper, or of the authors' program."""

    def plan(self, model: ModelView) -> Pruning:
        """Score the inputs of output and down projections; compensate what is cut."""
        masks = self._masks(*stacked(model, self._scores), model)
        found = []
        for block, part in zip(model.blocks, pruned(masks).blocks, strict=True):
            biases = {}
            for matrix, keep in kept_inputs(block, part):
                mean, _ = self._statistics(matrix)
                biases[matrix.name] = fluctuation.bias_compensation(matrix.weight, mean, keep)
            found.append(replace(part, biases=biases))
        return Pruning(blocks=tuple(found))

    def _scores(self, block: BlockView) -> tuple[Tensor, Tensor]:
        return self._score(block.linears["output"]), self._score(plain(block, "down"))

    def _score(self, matrix: LinearView) -> Tensor:
        if self.metric == "WIFN":
            return fluctuation.wifn(matrix.weight, matrix.input_squares)
        return fluctuation.wifv(matrix.weight, self._statistics(matrix)[1])

    def _statistics(self, matrix: LinearView) -> tuple[Tensor, Tensor]:
        if self.compat == "authors":
            return fluctuation.running_statistics(matrix.samples)
        return matrix.input_mean, matrix.input_variance

    def _masks(self, output: Tensor, down: Tensor, model: ModelView) -> Masks:
        shape, pruned_share = model.shape, 1 - self.keep_ratio
        authors, sizes = self.compat == "authors", sizes_of(shape)
        if self.structure == "AL-AM":
            scores = fluctuation.adaptive_scores(output, down, shape.heads)
            if authors:
                return authors_adaptive(*scores, pruned_share, shape.head_dim)
            return global_masks(*scores, sizes, self.keep_ratio)
        if authors:
            return authors_uniform(output, down, shape.heads, pruned_share)
        ratios = [self.keep_ratio] * len(down)
        return local_masks(fluctuation.uniform_scores(output, shape.heads), down, sizes, ratios)
