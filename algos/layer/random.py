"""Random blocks: the control of methods that skip layers."""

from __future__ import annotations

from typing import ClassVar

from algos.base import Parity
from algos.layer.base import LayerMethod
from algos.layer.shortgpt import blocks_to_drop
from algos.static.base import ModelView, Pruning
from algos.static.planned import skipping


class RandomLayers(LayerMethod):
    """Keep blocks drawn at random.

    `keep_ratio` is the share of blocks, rounded down to at least one.
    """

    name: ClassVar[str] = "random-layers"
    signal: ClassVar[str] = "uniform random numbers"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def plan(self, model: ModelView) -> Pruning:
        """Draw a number for each block."""
        import torch

        drawn = torch.rand(len(model.blocks), generator=model.generator)
        return skipping(len(model.blocks), blocks_to_drop(drawn, self.keep_ratio))
