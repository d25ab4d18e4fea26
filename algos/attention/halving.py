"""Halving search: the best blocks of a row, found by looking at few of them.

Lee et al., ICLR 2025, arXiv:2406.09827 (HiP).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from algos.kv.keep import keep_top
from algos.selection import kept_ids

if TYPE_CHECKING:
    from torch import Tensor

Compat = Literal["paper", "authors"]


def search(scores: Tensor, count: int, compat: Compat = "paper") -> tuple[Tensor, int]:
    """Find `count` blocks by halving spans, ascending, and how many blocks were looked at.

    Args:
        scores: (..., blocks) of all blocks; only those that the search meets are used.
        count: blocks wanted; all are returned if there are no more.
        compat: a half stands or falls with its middle block, in `authors` with its first.

    Returns:
        (..., min(count, blocks)) int64, and the number of scores used by each search.
    """
    import torch

    blocks, looked = scores.shape[-1], 0
    if blocks <= count:
        return torch.arange(blocks).expand(*scores.shape[:-1], -1), 0
    edges = torch.arange(count + 1) * blocks // count
    low = edges[:-1].expand(*scores.shape[:-1], -1)
    size = (edges[1:] - edges[:-1]).expand(*scores.shape[:-1], -1)
    while int(size.max()) > 1:
        half = size // 2
        low = torch.stack((low, low + half), -1).flatten(-2)
        size = torch.stack((half, size - half), -1).flatten(-2)
        chosen = low if compat == "authors" else low + size // 2
        value = scores.gather(-1, chosen.clamp_max(blocks - 1))
        # an empty half loses against everything
        value = value.masked_fill(size == 0, torch.finfo(scores.dtype).min)
        kept = kept_ids(keep_top(value, count))
        low, size = low.gather(-1, kept), size.gather(-1, kept)
        looked += 2 * count
    return low, looked
