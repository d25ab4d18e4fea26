"""Random visual tokens: the control of every selection."""

from __future__ import annotations

from typing import ClassVar

from algos.base import Parity
from algos.visual.base import Selected, VisualInput, VisualMethod


class RandomVisual(VisualMethod):
    """Keep visual tokens drawn at random, each image with a generator of its own."""

    name: ClassVar[str] = "random-visual"
    signal: ClassVar[str] = "uniform random numbers"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def select(self, seen: VisualInput) -> Selected:
        """Draw without replacement."""
        import torch

        n = seen.features.shape[1]
        drawn = [torch.randperm(n, generator=g)[: self.kept(n)] for g in seen.generators]
        return Selected(kept=torch.stack(drawn).sort(1).values)
