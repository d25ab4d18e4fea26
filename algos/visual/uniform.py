"""Evenly spaced visual tokens: what a selection must beat that looks at nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.visual.base import Selected, VisualInput, VisualMethod

if TYPE_CHECKING:
    from torch import Tensor


class UniformVisual(VisualMethod):
    """Keep visual tokens at equal steps along the sequence."""

    name: ClassVar[str] = "uniform-visual"
    signal: ClassVar[str] = "position"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def select(self, seen: VisualInput) -> Selected:
        """Keep the same of every image."""
        images, n, _ = seen.features.shape
        return Selected(kept=evenly_spaced(n, self.kept(n)).repeat(images, 1))


def evenly_spaced(n: int, k: int) -> Tensor:
    """Return floor(i * n / k) for i below k, (k,)."""
    import torch

    return torch.arange(k) * n // k
