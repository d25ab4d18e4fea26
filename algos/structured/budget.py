"""Which heads and neurons a budget of parameters leaves: whole units, the best first.

Units are taken in falling order of their scores, the lower index first among equals, until the
next one would exceed the budget. So the parameters kept are at most the budget and short of it by
less than one unit. A key/value head is paid by the first of its query heads that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from algos.selection import check_finite, largest
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class Masks(NamedTuple):
    """What is kept: heads (layers, heads) and neurons (layers, neurons), bool."""

    heads: Tensor
    neurons: Tensor


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Units of a layer and their parameters, biases not counted."""

    heads: int
    kv_heads: int
    neurons: int
    head_cost: int  # a query head's rows of Q and columns of the output projection
    kv_cost: int  # a key/value head's rows of K and V
    neuron_cost: int  # rows of gate and up, column of down

    @property
    def attention(self) -> int:
        """Parameters of one layer's attention."""
        return self.heads * self.head_cost + self.kv_heads * self.kv_cost

    @property
    def feed_forward(self) -> int:
        """Parameters of one layer's feed-forward part."""
        return self.neurons * self.neuron_cost

    def kept(self, masks: Masks) -> int:
        """Return the parameters of the kept units of all layers."""
        alive = masks.heads.view(len(masks.heads), self.kv_heads, -1).any(-1)
        units = (masks.heads, self.head_cost), (alive, self.kv_cost)
        total = sum(int(mask.sum()) * cost for mask, cost in units)
        return total + int(masks.neurons.sum()) * self.neuron_cost


def global_masks(heads: Tensor, neurons: Tensor, sizes: Sizes, keep_ratio: float) -> Masks:
    """Return what is kept when heads and neurons of all layers compete.

    Args:
        heads: scores (layers, heads); neurons: (layers, neurons), on one scale.
        sizes: parameters of a unit.
        keep_ratio: share of the parameters kept.

    Raises:
        InputError: a score is not finite, or the budget does not hold the best unit.
    """
    import torch

    check_scores(heads, neurons)
    score = torch.cat([heads.flatten(), neurons.flatten()])
    budget = keep_ratio * len(heads) * (sizes.attention + sizes.feed_forward)
    split = heads.numel()
    kept, spent = _take(score, split, sizes, budget)
    if not spent:
        raise InputError(f"keep_ratio must hold the best head or neuron, {keep_ratio:g} does not")
    return Masks(kept[:split].view_as(heads), kept[split:].view_as(neurons))


def local_masks(heads: Tensor, neurons: Tensor, sizes: Sizes, ratios: Sequence[float]) -> Masks:
    """Return what is kept when units compete within their layer and kind.

    One head is kept though it exceeds the attention's share, if the layer's budget holds it. What
    the heads leave or overdraw the neurons of the layer get or pay; so a layer falls short by less
    than one neuron, or by less than one head where all neurons are kept.

    Args:
        heads: scores (layers, heads); neurons: (layers, neurons).
        sizes: parameters of a unit.
        ratios: share of the parameters kept of attention and feed-forward part of each layer.

    Raises:
        InputError: a score is not finite.
    """
    import torch

    check_scores(heads, neurons)
    head_mask = torch.zeros(heads.shape, dtype=torch.bool)
    neuron_mask = torch.zeros(neurons.shape, dtype=torch.bool)
    for layer, ratio in enumerate(ratios):
        budget = ratio * (sizes.attention + sizes.feed_forward)
        one = sizes.head_cost + sizes.kv_cost
        share = max(ratio * sizes.attention, one if one <= budget else 0)
        head_mask[layer], spent = _take(heads[layer], sizes.heads, sizes, share)
        neuron_mask[layer], _ = _take(neurons[layer], 0, sizes, budget - spent)
    return Masks(head_mask, neuron_mask)


def best_neurons(scores: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the neurons kept (layers, neurons), bool: the best of each layer, as many as given.

    Raises:
        InputError: a score is not finite.
    """
    import torch

    check_scores(scores[:, :0], scores)
    return torch.stack([largest(row, count) for row, count in zip(scores, counts, strict=True)])


def check_scores(heads: Tensor, neurons: Tensor) -> None:
    """Require every score to be a number.

    Raises:
        InputError: one is not, with its layer and index.
    """
    for what, scores in (("head", heads), ("neuron", neurons)):
        for layer, row in enumerate(scores):
            check_finite(row[None], what, layer)


def ratios_by_layer(keep_ratio: float, layers: int, whole: Sequence[int]) -> list[float]:
    """Return the ratio of each layer: 1 in the `whole` ones, the same in the others.

    Raises:
        InputError: the whole layers alone exceed the budget.
    """
    pruned = layers - len(whole)
    left = keep_ratio * layers - len(whole)
    if left < 0 or (pruned == 0 and keep_ratio < 1):
        raise InputError(
            f"keep_ratio must be at least {len(whole) / layers:.3g} with {len(whole)} of {layers} "
            f"layers kept whole, not {keep_ratio:g}"
        )
    return [1.0 if layer in whole else left / pruned for layer in range(layers)]


def _take(score: Tensor, heads: int, sizes: Sizes, budget: float) -> tuple[Tensor, int]:
    """Return which units are kept, and their parameters; the first `heads` units are heads."""
    import torch

    mask = torch.zeros(score.shape, dtype=torch.bool)
    group, paid, spent = sizes.heads // sizes.kv_heads, set[int](), 0
    for unit in score.argsort(descending=True, stable=True).tolist():
        cost = sizes.neuron_cost
        if unit < heads:
            cost = sizes.head_cost + (0 if unit // group in paid else sizes.kv_cost)
            paid.add(unit // group)
        if spent + cost > budget + 1e-6:
            break
        spent += cost
        mask[unit] = True
    return mask, spent
