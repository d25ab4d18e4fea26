"""AxFormer: remove what hinders the task, large parts looked at before small ones.

Nagarajan et al., arXiv 2010.03688: parts of a fine-tuned transformer whose removal does not hurt
the task are taken out greedily, first whole attention and feed-forward layers, then heads and
groups of neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from algos.layer.greedy import finite


class Part(NamedTuple):
    """A part of a model: all of one kind in a layer, or some of its units."""

    kind: str  # "attention" or "feed_forward"
    layer: int
    first: int = 0  # unit
    units: int = 0  # 0: the whole

    def covers(self, other: Part) -> bool:
        """Tell whether `other` is a part of this whole layer."""
        return self.units == 0 and self[:2] == other[:2]


def hindering(
    levels: Sequence[Mapping[Part, int]],
    loss_without: Callable[[frozenset[Part]], float],
    loss: float,
    keep_ratio: float,
    tolerance: float,
) -> set[Part]:
    """Return the parts to remove.

    A pass goes through the levels, the parts of each from the last to the first, and removes what
    leaves the loss at most (1 + tolerance) times that of the whole model. After a pass that does
    not meet the budget the tolerance doubles. A whole layer is removed only while the budget lasts,
    so what is kept falls short of it by less than one part of the finest level.

    Args:
        levels: parameters of the parts, coarsest level first; the finest one holds all of them.
        loss_without: loss of the model without these parts.
        loss: of the whole model.
        keep_ratio: share of the parameters kept.
        tolerance: relative growth of the loss allowed in the first pass.
    """
    costs = levels[-1]
    removed: set[Part] = set()
    budget = keep_ratio * sum(costs.values()) + 1e-6

    def kept(without: set[Part]) -> int:
        gone = {part for part in costs if part in without or any(p.covers(part) for p in without)}
        return sum(cost for part, cost in costs.items() if part not in gone)

    while kept(removed) > budget:
        for level in levels:
            for part in reversed(list(level)):
                trial = removed | {part}
                after = kept(trial)
                if after == kept(removed) or (part.units == 0 and after < budget - 2e-6):
                    continue
                if finite(loss_without(frozenset(trial)), part) <= loss * (1 + tolerance):
                    removed = trial
                if kept(removed) <= budget:
                    return removed
        tolerance *= 2
    return removed
