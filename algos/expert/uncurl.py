"""UNCURL: keep the experts that the task uses most.  S074 of the literature list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def router_usage(logits: Tensor, active: int) -> Tensor:
    """Return how often each expert (experts,) is among the `active` best of (tokens, experts)."""
    import torch

    chosen = logits.argsort(dim=-1, descending=True, stable=True)[:, :active]
    return torch.bincount(chosen.flatten(), minlength=logits.shape[1])
