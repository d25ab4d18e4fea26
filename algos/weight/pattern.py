"""Which weights stay: of every M inputs, of each output row, of a matrix, or of many matrices.

Of equal scores the one of lower index is kept: the lower row, then the lower column.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from algos.selection import largest
from workloads.errors import InputError
from workloads.packed import KEPT, QUAD

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    rows, columns = score.shape
    if columns % of:
        raise InputError(f"{layer}: inputs must be a multiple of {of}, not {columns}")
    return largest(score.reshape(rows, columns // of, of), kept).reshape(rows, columns)


def kept_count(keep_ratio: float, n: int) -> int:
    """Return n without the floor of the share pruned, as pruning programs count: at least 1."""
    return n - math.floor((1 - keep_ratio) * n + 1e-9)


def keep_rows(score: Tensor, keep_ratio: float) -> Tensor:
    """Return (rows, columns) bool: the same number of largest scores in each row."""
    return largest(score, kept_count(keep_ratio, score.shape[1]))


def keep_matrix(score: Tensor, keep_ratio: float) -> Tensor:
    """Return (rows, columns) bool: the largest scores of the whole matrix."""
    flat = score.reshape(-1)
    return largest(flat, kept_count(keep_ratio, len(flat))).view_as(score)


def keep_global(scores: Sequence[Tensor], keep_ratio: float) -> list[Tensor]:
    """Return a bool mask of each matrix: the largest scores of all matrices together."""
    import torch

    flat = torch.cat([score.reshape(-1) for score in scores])
    mask = largest(flat, kept_count(keep_ratio, len(flat)))
    masks = []
    for score in scores:
        masks.append(mask[: score.numel()].view_as(score))
        mask = mask[score.numel() :]
    return masks


def check_score(score: Tensor, where: str) -> None:
    """Require every score of (rows, columns) to be a number.

    Raises:
        InputError: with the place and the value of the first that is not finite.
    """
    finite = score.isfinite()
    if not bool(finite.all()):
        row, column = (int(i) for i in (~finite).nonzero()[0])
        raise InputError(
            f"{where}: every score must be finite, that of output {row} and input {column} is "
            f"{score[row, column].item()}"
        )
