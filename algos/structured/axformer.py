"""AxFormer: remove what hinders the task, large parts looked at before small ones.

Nagarajan et al., arXiv:2010.03688: what does not hurt the task goes greedily, first whole
attention and feed-forward layers, then heads and groups of neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.layer.greedy import finite
from algos.static.base import PROBED_TOKENS, ModelView, Pruning
from algos.structured.base import StructuredMethod, plain, pruned, sizes_of
from algos.structured.parts import Part, masks_without, parts_of


def hindering(
    parts: Sequence[Part],
    kept: Callable[[frozenset[Part]], int],
    loss_without: Callable[[frozenset[Part]], float],
    loss: float,
    budget: float,
    tolerance: float,
) -> frozenset[Part]:
    """Return the parts to remove.

    A pass removes each part that leaves the loss at most (1 + tolerance) times that of the whole
    model. After a pass the tolerance doubles; a part is measured again once it allows what its
    removal added to the loss before. A whole layer goes only while the budget lasts, so what is
    kept is short of it by less than one of the finest parts.

    Args:
        parts: coarsest first; the finest ones make up the whole.
        kept: parameters of the model without these parts.
        loss_without: its loss; loss: that of the whole model.
        budget: parameters kept.
        tolerance: relative growth of the loss allowed in the first pass.

    Raises:
        InputError: a loss is not finite.
    """
    removed: frozenset[Part] = frozenset()
    now, adds = loss, dict[Part, float]()  # what a part's removal added to the loss
    while True:
        for part in parts:
            if kept(removed) <= budget:
                return removed
            trial, most = removed | {part}, loss * (1 + tolerance)
            too_large = part.units == 0 and kept(trial) < budget
            if too_large or kept(trial) == kept(removed) or now + adds.get(part, 0.0) > most:
                continue
            without = finite(loss_without(trial), part)
            adds[part] = without - now
            if without <= most:
                removed, now = trial, without
        tolerance *= 2


class AxFormer(StructuredMethod):
    """Keep what the task needs: parts go, large ones first, while the loss allows.

    From the description: halves of blocks, then heads and groups of neurons, from the last block
    to the first; the loss is that of at most 2048 tokens of calibration, an own choice. The paper
    stops at a quality; here the tolerance grows until the budget is met. Its hard attention in
    some layers is left out. Budget: short of it by less than a head with its key/value head, or a
    group of neurons.
    """

    name: ClassVar[str] = "axformer"
    signal: ClassVar[str] = "loss without a part"
    paper: ClassVar[str] = "Nagarajan et al., arXiv:2010.03688"
    granularity: ClassVar[str] = "halves of blocks, heads, groups of neurons"
    parity: ClassVar[Parity] = "description"
    calibration_tokens: ClassVar[int | None] = PROBED_TOKENS

    tolerance: Annotated[float, Field(gt=0)] = 0.01
    """Growth of the loss allowed in the first pass, relative; an estimate."""
    neurons_at_once: Annotated[int, Field(ge=1)] = 64
    """Neurons of a group; an estimate."""

    def plan(self, model: ModelView) -> Pruning:
        """Remove parts until the budget is met."""
        sizes, layers = sizes_of(model.shape), len(model.blocks)
        for block in model.blocks:
            plain(block, "down")
        left = partial(masks_without, sizes=sizes, layers=layers)
        removed = hindering(
            parts_of(sizes, layers, self.neurons_at_once),
            lambda parts: sizes.kept(left(parts)),
            lambda parts: model.probe(pruned(left(parts))).loss,
            model.dense.loss,
            self.keep_ratio * sizes.kept(left(frozenset())) + 1e-6,
            self.tolerance,
        )
        return pruned(left(removed))
