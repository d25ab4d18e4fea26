"""Random heads: the control of methods that prune heads."""

from __future__ import annotations

from typing import ClassVar

from algos.base import Parity
from algos.head.base import HeadMethod, best_heads
from algos.selection import keep_count
from algos.static.base import ModelView, Pruning


class RandomHeads(HeadMethod):
    """Keep heads of each layer drawn at random.

    `keep_ratio` is the share of each layer's heads, rounded down to at least one.
    """

    name: ClassVar[str] = "random-heads"
    signal: ClassVar[str] = "uniform random numbers"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def plan(self, model: ModelView) -> Pruning:
        """Draw a number for each head."""
        import torch

        drawn = torch.rand(len(model.blocks), model.shape.heads, generator=model.generator)
        kept = keep_count(self.keep_ratio, model.shape.heads)
        return Pruning.of_masks(heads=best_heads(drawn, kept))
