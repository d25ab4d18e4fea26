"""N:M patterns: of every M consecutive inputs of an output row, N weights are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import InputError
from workloads.packed import KEPT, QUAD

if TYPE_CHECKING:
    from torch import Tensor


def keep_largest(
    score: Tensor, kept: int = KEPT, of: int = QUAD, layer: str = "the matrix"
) -> Tensor:
    """Return (rows, columns) bool: the `kept` largest scores of every `of` neighbouring columns.

    Of equal scores the lower column is kept.

    Args:
        score: (rows, columns).
        kept: weights kept of each group; 2 of 4 by default.
        of: columns of a group.
        layer: named by the error.

    Raises:
        InputError: the columns are no multiple of `of`.
    """
    import torch

    rows, columns = score.shape
    if columns % of:
        raise InputError(f"{layer}: inputs must be a multiple of {of}, not {columns}")
    groups = score.reshape(rows, columns // of, of)
    order = groups.argsort(dim=-1, descending=True, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool)
    mask.scatter_(-1, order[..., :kept], True)
    return mask.reshape(rows, columns)
