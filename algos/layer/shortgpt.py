"""ShortGPT: drop the blocks that change their input least.  Men et al., arXiv 2403.03853."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def block_influence(before: Tensor, after: Tensor) -> Tensor:
    """Return 1 - cosine (tokens,) of hidden states (tokens, hidden) before and after a block.

    Where a state is all zero the cosine counts as 0.5, as in the authors' program.
    """
    return 1 - _cosine(before, after)


def angular_distance(before: Tensor, after: Tensor) -> Tensor:
    """Return the angle (tokens,) between hidden states (tokens, hidden), in units of pi."""
    return _cosine(before, after).clamp(-1, 1).arccos() / math.pi


def _cosine(before: Tensor, after: Tensor) -> Tensor:
    norms = before.norm(dim=-1) * after.norm(dim=-1)
    cosine: Tensor = (before * after).sum(-1) / norms
    return cosine.nan_to_num(nan=0.5)


def blocks_to_drop(influence: Tensor, keep_ratio: float) -> list[int]:
    """Return the blocks to drop, ascending: the least influential, of equals the lower one.

    floor(keep_ratio * blocks) stay, at least one.

    Args:
        influence: (blocks,).
        keep_ratio: share of the blocks kept.
    """
    from algos.selection import check_finite, keep_count

    check_finite(influence[None], "block", 0)
    dropped = len(influence) - keep_count(keep_ratio, len(influence))
    return sorted(influence.argsort(stable=True)[:dropped].tolist())
