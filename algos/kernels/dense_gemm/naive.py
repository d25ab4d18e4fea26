"""A linear layer in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def product(activations: Tensor, weight: Tensor) -> Tensor:
    """Return (tokens, rows) of (tokens, inputs) activations and (rows, inputs) weights."""
    return activations.double() @ weight.double().mT
