"""Asymmetric integer weights in groups of inputs, with a search for the best range.

A weight is (code - zero) * scale, code = clamp(round(w / scale) + zero, 0, 2^bits - 1), half to
even. `scale` is an FP16 number below 1, `zero` an integer code, so zero itself is always a level.
The range (minimum, maximum) of a group, shrunk or stretched by each of `FACTORS`, gives the scales
that are tried, with the zero point of the range and its neighbours; the least squared error over
the kept weights wins. Pruned weights take no part: they are not stored. Groups, FP16 scale and a
zero point as wide as a code are AccLLM's W2 (arXiv:2505.03745), which does not say how it finds
the range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import InputError
from workloads.packed import QUAD, PackedMatrix, WeightFormat

if TYPE_CHECKING:
    from torch import Tensor

FACTORS = tuple(1 - step / 20 for step in (*range(13), -1, -2, -3, -4, -5))
"""Of the range's own scale: 1 down to 0.4, then 1.05 to 1.25, as a rounded zero can cost range."""
_NEIGHBOURS = (0, -1, 1)  # of the range's own zero point


def quantize_weight(
    weight: Tensor,
    form: WeightFormat,
    mask: Tensor | None = None,
    layer: str = "the matrix",
) -> PackedMatrix:
    """Quantise (rows, columns) weights to nearest, each group with its best scale and zero.

    Args:
        weight: float32.
        form: 2, 4 or 8 bits with an integer zero point.
        mask: (rows, columns) bool, two kept of every four columns; None where `form` is dense.
        layer: named by errors.

    Raises:
        InputError: the columns are no multiple of the group, or a scale is not below 1.
    """
    rows, columns = weight.shape
    groups = columns // form.group_inputs(columns, layer)
    kept = kept_of(weight, mask).view(rows, groups, -1)
    scale, zero = best_range(kept, form.bits)
    codes = encode(kept, scale[..., None], zero[..., None], form.bits)
    return as_packed(codes.view(rows, -1), mask, scale, zero, form, columns, layer)


def best_range(kept: Tensor, bits: int, importance: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return scale and zero point, each (...,) float32, of the weights (..., kept) of groups.

    `importance` (..., kept) weighs squared errors. A group of zeros has scale 0.
    """
    import torch

    low, high = kept.amin(-1).clamp(max=0), kept.amax(-1).clamp(min=0)
    top = 2**bits - 1
    own = (high - low) / top
    own_zero = torch.where(own > 0, (-low / own).round(), 0.0)
    best = torch.full_like(own, torch.inf)
    scale, zero = half(own), own_zero
    for factor in FACTORS:
        tried = half(own * factor)
        for neighbour in _NEIGHBOURS:
            tried_zero = (own_zero + neighbour).clamp(0, top)
            error = _error(kept, tried, tried_zero, bits, importance)
            better = error < best
            best = torch.where(better, error, best)
            scale, zero = torch.where(better, tried, scale), torch.where(better, tried_zero, zero)
    return scale, zero


def encode(weight: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    """Return the codes, integers in float32, of weights; where the scale is 0, the zero point."""
    import torch

    steps = torch.where(scale > 0, weight / scale, 0.0).round()
    return (steps + zero).clamp(0, 2**bits - 1)


def half(x: Tensor) -> Tensor:
    """Round to FP16, half to even, and keep float32."""
    return x.half().float()


def kept_of(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return (rows, kept): what the mask keeps of each row, in the order of columns."""
    return values if mask is None else values[mask].view(len(values), -1)


def as_packed(
    codes: Tensor,
    mask: Tensor | None,
    scale: Tensor,
    zero: Tensor,
    form: WeightFormat,
    columns: int,
    layer: str,
) -> PackedMatrix:
    """Return the stored matrix of codes (rows, kept), scales and zeros (rows, groups).

    Raises:
        InputError: a scale is not below 1, which the engine's fixed point needs.
    """
    import numpy as np
    import torch

    if not bool((scale < 1).all()):
        raise InputError(
            f"{layer}: the scale of every group must be below 1, not {scale.max().item():.4g}"
        )
    positions = None
    if mask is not None:
        places = torch.arange(columns, dtype=torch.uint8) % QUAD
        positions = kept_of(places.expand(len(codes), -1), mask).numpy()
    return PackedMatrix(
        format=form,
        columns=columns,
        codes=codes.numpy().astype(np.uint8),
        positions=positions,
        scales=scale.numpy().astype(np.float16),
        zeros=zero.numpy().astype(np.uint8),
    )


def _error(
    kept: Tensor, scale: Tensor, zero: Tensor, bits: int, importance: Tensor | None
) -> Tensor:
    """Return the squared error of each group."""
    scale, zero = scale[..., None], zero[..., None]
    error = ((encode(kept, scale, zero, bits) - zero) * scale - kept).square()
    return (error if importance is None else error * importance).sum(-1)
