"""Linear symmetric quantisation, and K fetched in two planes.  SpAtten, HPCA 2021, section III-D.

A number x becomes the integer code round(x / scale), half to even, of `bits` bits, with one
scale = max|x| / (2^(bits-1) - 1) for each sequence and head. A two-plane K stores the top bits of
that code (the MSB plane) apart from the low ones. A first pass computes with the MSB plane alone,
reconstructed as the hardware does, (code >> lsb_bits) << lsb_bits: the shift is arithmetic, no
half LSB is added. A query whose largest probability stays below the threshold is computed once
more with both planes. The released traces fetch LSBs of K only, never of V; so does this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from algos.base import Precision
from workloads.attention import attention_probability
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor

FLOAT_BITS = 32  # stands for "not quantised"


@dataclass(frozen=True)
class Codes:
    """Quantised numbers."""

    code: Tensor  # (batch, head, token, channel) integers, held in float32
    scale: Tensor  # (batch, head, 1, 1); all zeros have scale 1

    @property
    def value(self) -> Tensor:
        """The numbers that the codes stand for."""
        return self.code * self.scale

    def msb(self, lsb_bits: int) -> Codes:
        """Return the same numbers with the low `lsb_bits` of each code cleared."""
        step = float(2**lsb_bits)
        return Codes((self.code / step).floor() * step, self.scale)


def quantize(x: Tensor, bits: int) -> Codes:
    """Quantise (batch, head, token, channel) to signed codes of `bits` bits, 2 to 24."""
    largest = x.abs().amax((2, 3), keepdim=True)
    scale = (largest / (2 ** (bits - 1) - 1)).masked_fill(largest == 0, 1.0)
    return Codes((x / scale).round(), scale)


def at_precision(x: Tensor, bits: int) -> Tensor:
    """Return x as `bits` bits can hold it; 32: unchanged."""
    return x if bits == FLOAT_BITS else quantize(x, bits).value


def progressive_probability(
    step: AttentionStep, precision: Precision, threshold: float
) -> tuple[Tensor, Tensor]:
    """Compute attention probabilities from the MSB plane of K, again with LSBs where unsure.

    Args:
        step: the layer; K and V already repeated for grouped heads.
        precision: `k_bits` of the MSB plane and `k_lsb_bits` of the other; 0: nothing is left to
            fetch, so nothing is recomputed.
        threshold: a query is recomputed if its largest probability is below this.

    Returns:
        Probabilities (batch, head, query, key) and which queries were recomputed, (batch, head,
        query) bool.
    """
    import torch

    query = at_precision(step.query, precision.q_bits)
    key = quantize(step.key, precision.k_bits + precision.k_lsb_bits)
    coarse = key.msb(precision.k_lsb_bits).value
    probability = attention_probability(query, coarse, step.scale, step.mask)
    unsure = probability.amax(-1) < threshold
    if precision.k_lsb_bits == 0:
        unsure = torch.zeros_like(unsure)
    if bool(unsure.any()):
        fine = attention_probability(query, key.value, step.scale, step.mask)
        probability = torch.where(unsure.unsqueeze(-1), fine, probability)
    return probability, unsure
