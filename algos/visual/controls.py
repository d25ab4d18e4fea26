"""What every selection of visual tokens must beat: chance, even spacing, and mere size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from algos.visual.ranking import finite, top_ids

if TYPE_CHECKING:
    from torch import Generator, Tensor


def drawn(tokens: int, k: int, generators: Sequence[Generator]) -> Tensor:
    """Return k tokens of each image drawn without replacement, ascending, (batch, k)."""
    import torch

    return torch.stack([torch.randperm(tokens, generator=g)[:k] for g in generators]).sort(1).values


def evenly_spaced(tokens: int, k: int, images: int) -> Tensor:
    """Return tokens floor(i * tokens / k), the same of each image, (batch, k)."""
    import torch

    return (torch.arange(k) * tokens // k).expand(images, -1)


def longest(features: Tensor, k: int) -> Tensor:
    """Return the k tokens with the largest norm, ascending, (batch, k), of (batch, N, d)."""
    return top_ids(finite(features, "features").norm(dim=-1), k)
