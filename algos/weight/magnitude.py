"""Magnitude pruning: a weight is worth its absolute value; and the random control."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def magnitude_score(weight: Tensor) -> Tensor:
    """Return |w| of (rows, columns)."""
    return weight.abs()


def random_score(weight: Tensor, generator: Generator) -> Tensor:
    """Return uniform random scores of the shape of `weight`: the control for every signal."""
    import torch

    return torch.rand(weight.shape, generator=generator)
