"""The stored form of pruned K and V: a bit for each element, and the elements that stay.

Joo et al., Mustafar, arXiv:2505.22913: pruned token by token, by magnitude. Every token keeps as
many elements here, so a row begins at a place that needs no pointer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pack(dense: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Keep the largest elements of each row; of equal ones the first.

    Args:
        dense: (..., dim), dim a multiple of 8.
        kept: elements of a row.

    Returns:
        (..., dim / 8) uint8, bit i of byte j is channel 8 j + i; and (..., kept), by channel.
    """
    import torch

    order = dense.abs().argsort(dim=-1, descending=True, stable=True)
    channels = order[..., :kept].sort(dim=-1).values
    mask = torch.zeros(dense.shape, dtype=torch.bool, device=dense.device)
    mask = mask.scatter(-1, channels, True)
    weights = 2 ** torch.arange(8, device=dense.device)
    bits = (mask.reshape(*dense.shape[:-1], -1, 8) * weights).sum(-1).to(torch.uint8)
    return bits, dense.gather(-1, channels)


def unpack(bits: Tensor, values: Tensor) -> Tensor:
    """Return the rows that `pack` stored, with zeros where elements were left out.

    Args:
        bits: (..., dim / 8) uint8.
        values: (..., kept); only the first of each row are read, as many as bits are set.
    """
    import torch

    places = torch.arange(8, device=bits.device)
    mask = ((bits.long()[..., None] >> places) & 1).flatten(-2).bool()
    rank = (mask.long().cumsum(-1) - 1).clamp_min(0)
    return values.gather(-1, rank) * mask
