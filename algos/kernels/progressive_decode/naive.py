"""Progressive quantisation by its rule, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algos.kernels.dense_decode.naive import mix, scores
from algos.kernels.nibbles.words import unpack

if TYPE_CHECKING:
    from torch import Tensor


def attention(inputs: Any, msb_bits: int, threshold: float) -> dict[str, Tensor]:
    """Return the output and which heads were recomputed, (batch, heads) int32.

    A head whose largest probability from the MSB plane is below the threshold is computed again
    from both planes.

    Args:
        inputs: operands of `progressive-decode`.
        msb_bits: of a code of the MSB plane.
        threshold: of the largest probability.
    """
    import torch

    coarse, fine = codes_of(inputs["msb"], inputs["lsb"], msb_bits)
    scale = inputs["key_scale"].double()[..., None, None]
    first = scores(inputs["query"], coarse * scale).softmax(-1)
    unsure = first.amax(-1) < threshold
    second = scores(inputs["query"], fine * scale).softmax(-1)
    value = inputs["value"].double() * inputs["value_scale"].double()[..., None, None]
    output = mix(torch.where(unsure[..., None], second, first), value)
    return {"output": output, "recomputed": unsure.int()}


def codes_of(msb: Tensor, lsb: Tensor, msb_bits: int) -> tuple[Tensor, Tensor]:
    """Return the codes without and with their low 4 bits, (batch, kv_heads, keys, dim)."""
    high = msb.int() if msb_bits == 8 else unpack(msb) - 8
    coarse = high * 16
    return coarse, coarse + unpack(lsb)
