"""Tokens that stand for nothing, where a rule keeps fewer than its budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.selection import rows_of
from algos.visual.base import Selected
from algos.visual.ranking import top_ids

if TYPE_CHECKING:
    from torch import Tensor

PADDING = -1


def padded(kept: Tensor, n: int) -> Selected:
    """Return ids (batch, k) with padding as the first tokens not kept, made of nothing.

    Args:
        kept: ids among `n`, -1 for padding.
        n: visual tokens.
    """
    import torch

    real = torch.nn.functional.one_hot(kept + 1, n + 1)[..., 1:].sum(1).float()
    places = top_ids(real, kept.shape[1])
    return Selected(kept=places, merge=rows_of(torch.diag_embed(real), places))
