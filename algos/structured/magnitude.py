"""Magnitude of structures: a neuron or head is worth the L2 norm of all its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from algos.structured.groups import Rows


def group_norm(rows: Rows) -> Tensor:
    """Return the L2 norm (units,) of the weights of each coupled group."""
    import torch

    return torch.stack([x.float().square().sum(1) for x in rows]).sum(0).sqrt()
