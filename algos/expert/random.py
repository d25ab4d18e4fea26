"""Random experts: the control of methods that prune experts."""

from __future__ import annotations

from typing import ClassVar

from algos.base import Parity
from algos.expert.base import ExpertMethod, check_mixtures, dropping
from algos.static.base import ModelView, Pruning


class RandomExperts(ExpertMethod):
    """Keep experts of each layer drawn at random; the router chooses among those.

    `keep_ratio` is the share of each layer's experts, rounded down to at least one.
    """

    name: ClassVar[str] = "random-experts"
    signal: ClassVar[str] = "uniform random numbers"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def plan(self, model: ModelView) -> Pruning:
        """Draw a number for each expert."""
        import torch

        check_mixtures(model)
        shape = len(model.blocks), model.blocks[0].experts
        return dropping(torch.rand(shape, generator=model.generator), self.keep_ratio)
