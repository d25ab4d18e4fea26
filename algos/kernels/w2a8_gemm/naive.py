"""The product of the unpacked weights, exact but for its scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.kernels.w2a8_gemm.pack import unpack

if TYPE_CHECKING:
    from torch import Tensor


def product(packed: Tensor, activations: Tensor, activation_scale: Tensor) -> Tensor:
    """Return the outputs in float64.

    A weight is (code - zero) * scale where it is kept, else 0; an activation number * scale.

    Args:
        packed: (rows / 16, inputs / 256, 292) int32, see `pack`.
        activations: (tokens, inputs) int8.
        activation_scale: (tokens,) float32.

    Returns:
        (tokens, rows).
    """
    codes, positions, scales, zeros = unpack(packed)
    whole = dense(codes.double() - zeros.double().repeat_interleave(32, 1), positions)
    sums = group_sums(whole, activations.double())
    scaled = (sums * scales.double().T[:, None]).sum(0)
    return scaled * activation_scale.double()[:, None]


def dense(kept: Tensor, positions: Tensor) -> Tensor:
    """Return (rows, inputs) weights with zeros where none is kept, of (rows, inputs / 2)."""
    import torch

    quads = torch.arange(kept.shape[1], device=kept.device) // 2
    whole = kept.new_zeros(kept.shape[0], 2 * kept.shape[1])
    return whole.scatter_(1, 4 * quads + positions.long(), kept)


def group_sums(weights: Tensor, activations: Tensor) -> Tensor:
    """Return (groups, tokens, rows) sums over 64 inputs each; integers if the operands are."""
    w = weights.reshape(len(weights), -1, 64).permute(1, 2, 0)
    return activations.reshape(len(activations), -1, 64).transpose(0, 1) @ w
