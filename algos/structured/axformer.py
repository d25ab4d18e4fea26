"""AxFormer: remove what hinders the task, large parts looked at before small ones.

Nagarajan et al., arXiv:2010.03688: parts of a fine-tuned transformer whose removal does not hurt
the task are taken out greedily, first whole attention and feed-forward layers, then heads and
groups of neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from algos.base import Parity
from algos.layer.greedy import finite
from algos.static.base import ModelView, Pruning
from algos.structured.base import StructuredMethod, plain, pruned, sizes_of
from algos.structured.budget import Masks, Sizes


class Part(NamedTuple):
    """A part of a model: all of one kind in a layer, or some of its units."""

    kind: str  # "attention" or "feed_forward"
    layer: int
    first: int = 0  # unit
    units: int = 0  # 0: the whole


def hindering(
    levels: Sequence[Sequence[Part]],
    kept: Callable[[frozenset[Part]], int],
    loss_without: Callable[[frozenset[Part]], float],
    loss: float,
    budget: float,
    tolerance: float,
) -> frozenset[Part]:
    """Return the parts to remove.

    A pass goes through the levels, the parts of each from the last to the first, and removes what
    leaves the loss at most (1 + tolerance) times that of the whole model. After a pass that does
    not meet the budget the tolerance doubles. A whole layer is removed only while the budget lasts,
    so what is kept falls short of it by less than one part of the finest level.

    Args:
        levels: coarsest parts first; the finest ones make up the whole.
        kept: parameters of the model without these parts.
        loss_without: its loss.
        loss: of the whole model.
        budget: parameters kept.
        tolerance: relative growth of the loss allowed in the first pass.
    """
    removed: frozenset[Part] = frozenset()
    while kept(removed) > budget:
        for level in levels:
            for part in reversed(level):
                trial = removed | {part}
                after = kept(trial)
                if after == kept(removed) or (part.units == 0 and after < budget):
                    continue  # it is gone already, or too large
                if finite(loss_without(trial), part) <= loss * (1 + tolerance):
                    removed = trial
                if kept(removed) <= budget:
                    return removed
        tolerance *= 2
    return removed


class AxFormer(StructuredMethod):
    """Keep what the task needs: parts go, large ones first, while the loss allows.

    From the description: halves of blocks, then heads and groups of neurons, from the last block
    to the first; the loss is that of the calibration samples. The paper stops at a quality; here
    the tolerance grows until the budget is met. Its hard attention in some layers is left out.
    Budget: short of it by less than a head with its key/value head, or a group of neurons.
    """

    name: ClassVar[str] = "axformer"
    signal: ClassVar[str] = "loss without a part"
    paper: ClassVar[str] = "Nagarajan et al., arXiv:2010.03688"
    granularity: ClassVar[str] = "halves of blocks, heads, groups of neurons"
    parity: ClassVar[Parity] = "description"

    tolerance: Annotated[float, Field(gt=0)] = 0.01
    """Growth of the loss allowed in the first pass, relative; an estimate."""
    neurons_at_once: Annotated[int, Field(ge=1)] = 64
    """Neurons of a group; an estimate."""

    def plan(self, model: ModelView) -> Pruning:
        """Remove parts until the budget is met."""
        sizes, layers = sizes_of(model.shape), len(model.blocks)
        for block in model.blocks:
            plain(block, "down")
        levels = _levels(sizes, layers, self.neurons_at_once)
        whole = layers * (sizes.attention + sizes.feed_forward)
        gone = hindering(
            levels,
            lambda parts: sizes.kept(masks_without(parts, sizes, layers)),
            lambda parts: model.probe(pruned(masks_without(parts, sizes, layers))).loss,
            model.dense.loss,
            self.keep_ratio * whole + 1e-6,
            self.tolerance,
        )
        return pruned(masks_without(gone, sizes, layers))


def masks_without(removed: frozenset[Part], sizes: Sizes, layers: int) -> Masks:
    """Return what is left of `layers` blocks."""
    import torch

    masks = Masks(
        torch.ones(layers, sizes.heads, dtype=torch.bool),
        torch.ones(layers, sizes.neurons, dtype=torch.bool),
    )
    for part in removed:
        mask = masks.heads if part.kind == "attention" else masks.neurons
        mask[part.layer, part.first : part.first + part.units if part.units else None] = False
    return masks


def _levels(sizes: Sizes, layers: int, at_once: int) -> list[list[Part]]:
    """Return the parts: halves of blocks, then what they are made of."""
    halves, units = [], []
    for layer in range(layers):
        halves += [Part("attention", layer), Part("feed_forward", layer)]
        units += [Part("attention", layer, head, 1) for head in range(sizes.heads)]
        for first in range(0, sizes.neurons, at_once):
            count = min(at_once, sizes.neurons - first)
            units.append(Part("feed_forward", layer, first, count))
    return [halves, units]
