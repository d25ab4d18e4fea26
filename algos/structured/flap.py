"""FLAP: prune what fluctuates least, and let a bias stand in for its mean.

An et al., AAAI 2024, arXiv:2312.11983. The signal is in `algos.structured.fluctuation`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from algos.base import Parity
from algos.static.base import LinearView, ModelView, Need, Pruning
from algos.structured.base import StructuredMethod, head_columns, plain, pruned, sizes_of
from algos.structured.budget import Masks, check_scores, global_masks, local_masks
from algos.structured.fluctuation import (
    adaptive_scores,
    bias_compensation,
    running_statistics,
    wifn,
    wifv,
)

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
    by_head = output.square().view(len(output), heads, -1).sum(2)
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
        import torch

        blocks, shape = model.blocks, model.shape
        output = torch.stack([self._score(block.linears["output"]) for block in blocks])
        down = torch.stack([self._score(plain(block, "down")) for block in blocks])
        masks = self._masks(output, down, model)
        found = []
        for block, part in zip(blocks, pruned(masks).blocks, strict=True):
            assert part.heads is not None
            assert part.neurons is not None
            keep = {"output": head_columns(part.heads, shape.head_dim), "down": part.neurons}
            biases = {
                name: bias_compensation(
                    block.linears[name].weight, self._mean(block.linears[name]), mask
                )
                for name, mask in keep.items()
            }
            found.append(replace(part, biases=biases))
        return Pruning(blocks=tuple(found))

    def _score(self, matrix: LinearView) -> Tensor:
        if self.metric == "WIFN":
            return wifn(matrix.weight, matrix.input_squares)
        if self.compat == "authors":
            return wifv(matrix.weight, running_statistics(matrix.samples)[1])
        return wifv(matrix.weight, matrix.input_variance)

    def _mean(self, matrix: LinearView) -> Tensor:
        return (
            running_statistics(matrix.samples)[0] if self.compat == "authors" else matrix.input_mean
        )

    def _masks(self, output: Tensor, down: Tensor, model: ModelView) -> Masks:
        heads, authors, prune_ratio = (
            model.shape.heads,
            self.compat == "authors",
            1 - self.keep_ratio,
        )
        if self.structure == "UL-UM":
            if authors:
                return authors_uniform(output, down, heads, prune_ratio)
            score = output.square().view(len(output), heads, -1).sum(2)
            ratios = [self.keep_ratio] * len(down)
            return local_masks(score, down, sizes_of(model.shape), ratios)
        scores = adaptive_scores(output, down, heads)
        if authors:
            return authors_adaptive(*scores, prune_ratio, model.shape.head_dim)
        return global_masks(*scores, sizes_of(model.shape), self.keep_ratio)
