"""Activations in 8 bits with a scale for each token (A8), or each token and head (Q8).

code = clamp(round(x / scale), -127, 127), half to even, scale = max|x| / 127 in float32: symmetric,
and never -128, with which two activations would not fit beside each other on the multiplier of a
DSP slice (AccLLM, arXiv:2505.03745: 8 bits a token).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 127


def quantize_activations(x: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Quantise (..., channel) to 8 bits.

    Args:
        x: float32.
        layer: named by the error.

    Returns:
        Codes (..., channel), integers in float32, and scales (..., 1); all zeros have scale 1.

    Raises:
        InputError: a number is not finite.
    """
    import torch

    largest = x.abs().amax(-1, keepdim=True)
    if not bool(torch.isfinite(largest).all()):
        raise InputError(f"{layer}: activations must be finite numbers, they overflow")
    scale = largest / LARGEST
    scale = scale.masked_fill(scale == 0, 1.0)
    return (x / scale).round().clamp(-LARGEST, LARGEST), scale


def at_8_bits(x: Tensor, layer: str) -> Tensor:
    """Return (..., channel) as 8 bits hold it."""
    codes, scale = quantize_activations(x, layer)
    return codes * scale
