"""Lists of key blocks: draw them, check them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.kernels.block_sparse_prefill.shape import BlockSparse
from algos.kernels.draw import Draw
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def draw_lists(shape: BlockSparse, draw: Draw) -> tuple[Tensor, Tensor]:
    """Return random lists of a shape, and their lengths.

    Among the blocks that a block of queries sees, those of its own places and the first one (the
    sink) are listed before any other; which others, is random.

    Returns:
        (batch, heads, query blocks, kept) int32 ascending, 0 where not used; and without the last
        axis.
    """
    import torch

    rows = (shape.batch, shape.heads, shape.query_blocks)
    rank = draw.uniform(*rows, shape.key_blocks, low=0.0, high=1.0, dtype="float32")
    tiles = range(shape.query_blocks)
    seen = torch.tensor([shape.seen(tile) for tile in tiles], device=rank.device)[:, None]
    own = torch.tensor([shape.own(tile) for tile in tiles], device=rank.device)[:, None]
    place = torch.arange(shape.key_blocks, device=rank.device)
    rank = torch.where(place == 0, 2.0, rank)
    rank = torch.where(place >= seen - own, 3.0, rank)
    rank = torch.where(place >= seen, -1.0, rank)
    chosen = rank.topk(shape.kept, dim=-1).indices
    chosen = torch.where(chosen < seen, chosen, shape.key_blocks).sort(dim=-1).values
    counts = torch.tensor(shape.lengths, device=rank.device, dtype=torch.int32)
    used = torch.arange(shape.kept, device=rank.device) < counts[:, None]
    return torch.where(used, chosen, 0).int(), counts.expand(rows).contiguous()


def check_lists(shape: BlockSparse, blocks: Tensor, counts: Tensor) -> None:
    """Raise InputError unless lists ascend without equals and name blocks that are seen.

    Lists in a device's memory are not checked: that would wait for the device.
    """
    import torch

    if blocks.device.type != "cpu":
        return
    if (counts < 0).any() or (counts > shape.kept).any():
        wrong = counts[(counts < 0) | (counts > shape.kept)][0]
        raise InputError(f"block-sparse-prefill: counts must be 0 to {shape.kept}, not {wrong}")
    used = torch.arange(shape.kept, device="cpu") < counts[..., None]
    tiles = range(shape.query_blocks)
    seen = torch.tensor([shape.seen(tile) for tile in tiles], device="cpu")[:, None]
    outside = ((blocks < 0) | (blocks >= seen)) & used
    if outside.any():
        place = outside.nonzero()[0].tolist()
        raise InputError(
            f"block-sparse-prefill: blocks of query block {place[2]} must be 0 to "
            f"{int(seen[place[2]]) - 1}, the last that it sees, not {blocks[tuple(place)]}"
        )
    if ((blocks.diff(dim=-1) <= 0) & used[..., 1:]).any():
        raise InputError("block-sparse-prefill: blocks must ascend without equals, they do not")
