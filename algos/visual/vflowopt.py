"""VFlowOpt: attention of the queries that matter plus the entropy of a patch; the rest recycled.

ICCV 2025, arXiv:2508.05211.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from algos.visual.ranking import best_first, finite
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

GREYS = 256  # an 8-bit histogram
CHANNEL_WEIGHT = 0.3333  # of red, green and blue in grey (the authors' program)


def patch_entropy(
    pixels: Tensor, grid: tuple[int, int], compat: Literal["paper", "authors"] = "paper"
) -> Tensor:
    """Return the entropy in bits of the grey levels of each patch, (batch, N).

    Args:
        pixels: (batch, channel, H, W), whole patches.
        grid: rows and columns of patches.
        compat: "paper": an image's smallest value becomes 0 and its largest 255. "authors":
            value 1 is 255 and what is outside 0..1 wraps around, as in 8-bit integers.

    Raises:
        InputError: the image is no whole number of patches high or wide.
    """
    import torch

    batch, channels, height, width = finite(pixels, "pixels").shape
    rows, columns = grid
    if height % rows or width % columns:
        raise InputError(
            f"an image of {rows} x {columns} patches must be a multiple of that, "
            f"not {height} x {width} pixels"
        )
    if compat == "paper":
        low, high = pixels.amin((1, 2, 3), keepdim=True), pixels.amax((1, 2, 3), keepdim=True)
        pixels = (pixels - low) / (high - low).clamp_min(1e-30)
    levels = (pixels * (GREYS - 1)).trunc()
    if compat == "authors":
        levels = levels.remainder(GREYS)
    weight = CHANNEL_WEIGHT if channels == 3 else 1 / channels
    grey = (levels * weight).sum(1).round().long()
    split = grey.view(batch, rows, height // rows, columns, width // columns)
    patches = split.transpose(2, 3).reshape(batch * rows * columns, -1)
    count = torch.zeros(len(patches), GREYS).scatter_add_(1, patches, torch.ones(patches.shape))
    entropy: Tensor = torch.special.entr(count / patches.shape[1]).sum(1)
    return entropy.view(batch, -1) / math.log(2)


def importance(
    attention: Tensor, entropy: Tensor, threshold: float = 1.0, entropy_weight: float = 0.0
) -> Tensor:
    """Return the importance of each patch, (batch, N).

    The attention it receives, mean over heads, from the queries that themselves receive more
    than `threshold` times the mean (from all if none does), plus a share by entropy.

    Args:
        attention: (batch, head, N, N) probabilities among patches.
        entropy: (batch, N) bits.
        threshold: times the mean attention received.
        entropy_weight: of the softmax of entropy over the image.
    """
    mean = finite(attention, "attention").mean(1)
    received = mean.mean(1)
    asks = received > threshold * received.mean(1, keepdim=True)
    asks = asks | ~asks.any(1, keepdim=True)
    relevance = (mean * asks[:, :, None]).sum(1) / asks.sum(1, keepdim=True)
    return relevance + entropy_weight * entropy.softmax(1)


def keep_and_recycle(
    score: Tensor, grid: tuple[int, int], k: int, cell: int
) -> tuple[Tensor, Tensor]:
    """Return k tokens of each image, ascending (batch, k), and what each is made of (batch, k, N).

    Most are the best ones as they are. The others are grouped by square cells of the image; each
    group becomes one token at the place of its best member, a mean weighted by importance. A
    budget of no more tokens than there are cells recycles nothing.

    Args:
        score: (batch, N) importance, not negative.
        grid: rows and columns of the image.
        k: tokens in all.
        cell: side of a cell, in patches.
    """
    import torch

    rows, columns = grid
    across = -(-columns // cell)
    token = torch.arange(rows * columns)
    cells = token // columns // cell * across + token % columns // cell
    made = [_recycled(row, cells, k) for row in finite(score, "importance")]
    return torch.stack([ids for ids, _ in made]), torch.stack([merge for _, merge in made])


def _recycled(score: Tensor, cells: Tensor, k: int) -> tuple[Tensor, Tensor]:
    import torch

    n = len(score)
    order = best_first(score[None], n)[0]
    alone = k
    if k > int(cells.max()) + 1:
        # each token more that stays alone empties at most one cell: some number fits exactly
        alone = next(a for a in range(k + 1) if a + len(set(cells[order[a:]].tolist())) == k)
    merge = torch.zeros(n, n)
    kept = order[:alone]
    merge[kept, kept] = 1
    ids = kept.tolist()
    if alone < k:
        rest = order[alone:]
        for cell in sorted(set(cells[rest].tolist())):
            members = rest[cells[rest] == cell]
            weight = score[members] / score[members].sum().clamp_min(1e-30)
            merge[members[0], members] = weight if weight.sum() > 0 else 1 / len(members)
            ids.append(int(members[0]))
    chosen = torch.tensor(sorted(ids))
    return chosen, merge[chosen]
