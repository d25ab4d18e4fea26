"""Shared selection: how many to keep in each layer, and which, as the hardware does it.

Hardware selects on unsigned 12-bit numbers and keeps the lowest index among equals. The same
numbers decide here, so a selector fed with recorded scores keeps the very same elements.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

CODE_MAX = 4095  # largest unsigned 12-bit number


def keep_count(ratio: float, n: int) -> int:
    """Return floor(ratio * n), at least 1.

    A product that misses an integer only by binary rounding counts as that integer:
    0.29 * 100 is 29, though as floats it is 28.999999999999996.
    """
    return max(1, math.floor(ratio * n + 1e-9))


def keep_ratios(
    layers: int, average: float, end: float, unpruned_fraction: float
) -> tuple[float, ...]:
    """Return the ratio kept of what enters each layer (SpAtten, evaluation methodology).

    The first ceil(unpruned_fraction * layers) layers, at least one, keep everything. Over the
    others the ratio is linear from start = 2 * average - end to `end`; a single one has `average`.
    """
    whole = min(layers, max(1, math.ceil(unpruned_fraction * layers - 1e-9)))
    pruned = layers - whole
    start = 2 * average - end
    if pruned == 1:
        return (1.0,) * whole + (average,)
    steps = (start + (end - start) * i / (pruned - 1) for i in range(pruned))
    return (1.0,) * whole + tuple(steps)


def check_finite(importance: Tensor, what: str, layer: int) -> None:
    """Require every importance to be a number.

    Args:
        importance: (batch, n).
        what: "token", "head" ...
        layer: for the message.

    Raises:
        InputError: with the layer, the index and the value of the first that is not finite.
    """
    finite = importance.isfinite()
    if bool(finite.all()):
        return
    row, index = (int(i) for i in (~finite).nonzero()[0])
    raise InputError(
        f"importance of every {what} must be finite, in layer {layer} that of {what} {index} is "
        f"{importance[row, index].item()}"
    )


def importance_codes(importance: Tensor) -> Tensor:
    """Scale importance (..., n), not negative, by its largest: int32 in 0..4095, half to even."""
    largest = importance.amax(-1, keepdim=True)
    scaled = importance * (CODE_MAX / largest.clamp_min(1e-30))
    return scaled.round().clamp_max(CODE_MAX).int()


def probability_codes(probability: Tensor) -> Tensor:
    """Return round(p * 4095) as int32, half to even."""
    return (probability * CODE_MAX).round().int()


def top_mask(codes: Tensor, k: int) -> Tensor:
    """Mark the k largest of each row of `codes` (..., n); among equals the lowest index wins.

    Returns:
        (..., n) bool with exactly k true in each row.
    """
    import torch

    n = codes.shape[-1]
    rank = codes * n + torch.arange(n - 1, -1, -1, dtype=codes.dtype)  # distinct in a row
    threshold = rank.topk(k, dim=-1, sorted=True).values[..., -1:]
    return rank >= threshold


def best_first(score: Tensor, k: int) -> Tensor:
    """Return the indices (..., k) of the k largest of each row of (..., n), best first.

    Among equals the lower index comes first; all n are returned if k is larger.
    """
    return score.argsort(dim=-1, descending=True, stable=True)[..., :k]


def largest(score: Tensor, k: int) -> Tensor:
    """Mark the k largest of each row of (..., n), the lower index among equals; all if k > n."""
    import torch

    return torch.zeros_like(score, dtype=torch.bool).scatter(-1, best_first(score, k), True)


def rows_of(x: Tensor, index: Tensor) -> Tensor:
    """Return the rows (batch, m, d) of x (batch, n, d) at the indices (batch, m)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def kept_ids(mask: Tensor) -> Tensor:
    """Return the ordinals (..., k), ascending, of a mask (..., n) with k true in each row."""
    return mask.nonzero()[:, -1].view(*mask.shape[:-1], -1)
