"""Random structures: the control that says whether a signal is worth anything."""

from __future__ import annotations

from typing import ClassVar

from algos.base import Parity
from algos.static.base import ModelView, Pruning
from algos.structured.base import StructuredMethod, plain, pruned, sizes_of
from algos.structured.budget import local_masks


class RandomStructures(StructuredMethod):
    """Keep heads and neurons of each layer drawn at random.

    Every layer keeps the same share of its weights, short of it by less than one neuron.
    """

    name: ClassVar[str] = "random-structures"
    signal: ClassVar[str] = "uniform random numbers"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def plan(self, model: ModelView) -> Pruning:
        """Draw a number for each unit."""
        import torch

        layers, shape = len(model.blocks), model.shape
        for block in model.blocks:
            plain(block, "down")
        heads = torch.rand(layers, shape.heads, generator=model.generator)
        neurons = torch.rand(layers, shape.intermediate, generator=model.generator)
        return pruned(local_masks(heads, neurons, sizes_of(shape), [self.keep_ratio] * layers))
