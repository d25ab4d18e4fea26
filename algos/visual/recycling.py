"""Recycling: tokens that are dropped become one token for each cell of the image.

Yang et al. (VFlowOpt), ICCV 2025, arXiv:2508.05211.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.selection import best_first
from algos.visual.ranking import finite

if TYPE_CHECKING:
    from torch import Tensor


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
