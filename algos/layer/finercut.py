"""FinerCut: attention and feed-forward halves go one by one, whichever the outputs miss least.

Zhang et al., arXiv:2405.18218. All halves of all blocks are candidates in each round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.layer.base import LayerMethod
from algos.layer.greedy import greedy_removal
from algos.layer.shortgpt import angular_distance
from algos.static.base import BlockPruning, ModelView, Outcome, Pruning

if TYPE_CHECKING:
    from collections.abc import Collection

HALVES = {"attention": ("query", "key", "value", "output")}  # all other matrices: feed-forward
Half = tuple[int, str]  # layer, and "attention" or "feed_forward"


def outcome_distance(dense: Outcome, pruned: Outcome) -> float:
    """Return the angle between the outputs, in units of pi: mean over tokens, then samples."""
    pairs = zip(dense.outputs, pruned.outputs, strict=True)
    return sum(float(angular_distance(a, b).mean()) for a, b in pairs) / len(dense.outputs)


def without(layers: int, halves: Collection[Half]) -> Pruning:
    """Return the pruning of `layers` blocks that skips these halves."""
    skips = {
        layer: BlockPruning(
            skip_attention=(layer, "attention") in halves,
            skip_ffn=(layer, "feed_forward") in halves,
        )
        for layer, _ in halves
    }
    return Pruning.only(layers, skips)


class FinerCut(LayerMethod):
    """Keep the attention and feed-forward halves of blocks that the model's outputs need.

    Greedy: each round measures every half that is left on the calibration samples and removes the
    one that turns the outputs least. `keep_ratio` counts weights. Budget: short of it by less than
    one half.
    """

    name: ClassVar[str] = "finercut"
    signal: ClassVar[str] = "angle of the outputs without a half"
    paper: ClassVar[str] = "Zhang et al., arXiv:2405.18218"
    granularity: ClassVar[str] = "attention and feed-forward halves"
    parity: ClassVar[Parity] = "hand"

    def plan(self, model: ModelView) -> Pruning:
        """Remove halves until the budget is met."""
        layers = len(model.blocks)
        costs: dict[Half, int] = {}
        for matrix in model.linears:
            half = "attention" if matrix.operator in HALVES["attention"] else "feed_forward"
            key = (matrix.layer, half)
            costs[key] = costs.get(key, 0) + matrix.weight.numel()

        def distance(removed: frozenset[Half]) -> float:
            return outcome_distance(model.dense, model.probe(without(layers, removed)))

        return without(layers, greedy_removal(costs, self.keep_ratio, distance))
