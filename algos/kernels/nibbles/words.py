"""Eight 4-bit codes in an int32 word, the first in the lowest bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pack(codes: Tensor) -> Tensor:
    """Return (..., channels / 8) int32 of (..., channels) integers 0 to 15."""
    import torch

    size = (*codes.shape[:-1], codes.shape[-1] // 8)
    words = torch.zeros(size, dtype=torch.int32, device=codes.device)
    for place in range(8):
        words |= codes[..., place::8].to(torch.int32) << 4 * place
    return words


def unpack(words: Tensor) -> Tensor:
    """Return (..., channels) int32, 0 to 15: the inverse of `pack`."""
    import torch

    places = 4 * torch.arange(8, dtype=torch.int32, device=words.device)
    return ((words.unsqueeze(-1) >> places) & 15).flatten(-2)
