"""K and V in 4 bits with an FP16 scale and a 4-bit zero point for each token and head (KV4).

scale = (maximum - minimum) / 15 rounded to FP16, zero = clamp(round(-minimum / scale), 0, 15), code
= clamp(round(x / scale) + zero, 0, 15), half to even. The range always holds 0, as the zero point
is a code; K is taken after its rotary embedding. AccLLM (arXiv:2505.03745) has one scale a token
and head for both; the zero point is that of SpinQuant's KV cache (arXiv:2405.16406).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from algos.quant.groupwise import encode, half
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

BITS = 4
V_SCALE_LIMIT = 64  # the engine multiplies V's scale, in fixed point, into the probability


@dataclass(frozen=True)
class KvCodes:
    """Quantised vectors."""

    code: Tensor  # (..., channel), 0..15 in float32
    scale: Tensor  # (..., 1), FP16 numbers in float32
    zero: Tensor  # (..., 1), 0..15 in float32

    @property
    def value(self) -> Tensor:
        """The numbers that the codes stand for."""
        return (self.code - self.zero) * self.scale


def quantize_kv(x: Tensor, layer: str, below: float = float("inf")) -> KvCodes:
    """Quantise (..., channel) vectors to 4 bits.

    Args:
        x: float32.
        layer: named by the error.
        below: limit of the scales; `V_SCALE_LIMIT` for V.

    Raises:
        InputError: a scale is no finite FP16 number below the limit.
    """
    import torch

    low, high = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
    scale = half((high - low) / (2**BITS - 1))
    if not bool((scale < below).all()):  # also true of NaN
        raise InputError(
            f"{layer}: the scale of K or V must be a finite FP16 number below {below:g}, "
            f"not {scale.max().item():.4g}"
        )
    zero = torch.where(scale > 0, (-low / scale).round(), 0.0).clamp(0, 2**BITS - 1)
    return KvCodes(encode(x, scale, zero, BITS), scale, zero)
