"""SHRP: keep the heads that tokens choose.  Arrived at by usage counts, arXiv 2512.20635."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def usage(contribution: Tensor) -> Tensor:
    """Return the share (heads,) of tokens whose Top-1 choice is the head.

    Args:
        contribution: (tokens, heads) what a token's choice is made by; of equals the lower head.
    """
    import torch

    chosen = contribution.argsort(dim=1, descending=True, stable=True)[:, 0]
    return torch.bincount(chosen, minlength=contribution.shape[1]) / len(contribution)


def contributions(context: Tensor, output: Tensor) -> Tensor:
    """Return the norm (tokens, heads) of what each head adds to the hidden state.

    Args:
        context: (tokens, heads, head_dim).
        output: (hidden, heads * head_dim) weight of the output projection.
    """
    import torch

    heads, head_dim = context.shape[1:]
    parts = output.view(len(output), heads, head_dim)
    norms: Tensor = torch.einsum("thd,ohd->tho", context, parts).norm(dim=-1)
    return norms
