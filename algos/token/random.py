"""Random pruning: the control that says whether a signal is worth anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import AttentionOutcome, Parity, Precision
from algos.quant.progressive import at_precision
from algos.selection import CODE_MAX, check_finite
from algos.token.cascade import CascadeMethod
from algos.token.cascade_state import CascadeState
from workloads.attention import attention_probability
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Generator, Tensor


class RandomPruning(CascadeMethod):
    """Drop as many tokens, heads and V rows as SpAtten does, drawn at random.

    Each sequence has its own seeded generator. There is no progressive quantisation. In a decoder
    the counts of the prompt are equal; later each method's may fall short of the target by a few
    tokens, for what a layer has lost is lost to those behind it.
    """

    name: ClassVar[str] = "random"
    family: ClassVar[str] = "control"
    signal: ClassVar[str] = "uniform random numbers"
    parity: ClassVar[Parity] = "hand"
    paper: ClassVar[str] = "none"

    bits: Annotated[int, Field(ge=2, le=16)] = 12
    """Bits of Q, K and V."""

    def probability(self, step: AttentionStep) -> tuple[Tensor, Tensor | None, Tensor, Precision]:
        """Compute from quantised Q and K."""
        query, key, value = (at_precision(x, self.bits) for x in (step.query, step.key, step.value))
        probability = attention_probability(query, key, step.scale, step.mask)
        precision = Precision(q_bits=self.bits, k_bits=self.bits, v_bits=self.bits)
        return probability, None, value, precision

    def value_codes(self, probability: Tensor, state: CascadeState) -> Tensor:
        """Draw a 12-bit number for each probability; what a row cannot see comes last, with 0."""
        drawn = _draw(probability.shape[1:], state.generators, CODE_MAX + 1).int()
        return drawn.masked_fill(probability == 0, 0)

    def accumulate(
        self,
        layer: int,
        outcome: AttentionOutcome,
        tokens: Tensor,
        heads: Tensor,
        state: CascadeState,
    ) -> tuple[Tensor, Tensor]:
        """Replace the importances by new random numbers."""
        check_finite(outcome.output.sum((2, 3)), "head", layer)
        fresh = _draw(tokens.shape[1:], state.generators, None)
        return fresh, _draw(heads.shape[1:], state.generators, None)


def _draw(shape: Any, generators: tuple[Generator, ...], bound: int | None) -> Tensor:
    """Return numbers (batch, *shape) in [0, 1), or integers below `bound`."""
    import torch

    if bound is None:
        return torch.stack([torch.rand(shape, generator=g) for g in generators])
    return torch.stack([torch.randint(bound, shape, generator=g) for g in generators])
