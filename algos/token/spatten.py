"""SpAtten: cascade token and head pruning, local V pruning, progressive quantisation.

Wang, Zhang, Han, HPCA 2021, arXiv:2012.09852, section III.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import AttentionOutcome, Fraction, Parity, Precision
from algos.quant.progressive import at_precision, progressive_probability
from algos.selection import check_finite, probability_codes
from algos.token.cascade import CascadeMethod
from algos.token.cascade_state import CascadeState
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor


class SpAtten(CascadeMethod):
    """Drop the tokens that received least attention and the heads that put out least.

    Token importance is the attention probability a token received, head importance the absolute
    attention output, both summed over all layers and decoding steps so far and never reset. What is
    dropped before a layer is gone from it and those behind it, in this and every later step, so a
    decoder's layer may hold fewer tokens than its ratio of those seen. In an encoder no token is
    protected: CLS and separators compete like any other. In a decoder the latest token, whose
    output predicts the next one, goes through all layers of its step, and competes from then on.

    Differs from the paper: the model is not fine-tuned; progressive quantisation, which the paper
    uses for GPT-2 only, is on by default; probabilities and outputs stay in float, only Q, K and V
    are in fixed point; in a decoder, tokens leave between the layers of the prompt as in an
    encoder, while the released traces of GPT-2 drop the first ones after it. That the latest token
    is protected is our reading: the layers' last row is the result.

    The default ratios keep a Spearman correlation of 0.905 with the dense similarities of MiniLM on
    the sentences of `workloads.tasks`; random pruning of the same budget keeps 0.667. In a decoder
    the sums favour early tokens, which more queries see: with `token_keep_ratio` 0.5, all heads
    and all V rows the loss of the tiny decoder is 1.893 nats a byte; with random tokens it is
    1.007, unpruned 0.853.
    """

    name: ClassVar[str] = "spatten"
    family: ClassVar[str] = "token"
    signal: ClassVar[str] = "accumulated attention probability; accumulated |attention output|"
    parity: ClassVar[Parity] = "hand"
    paper: ClassVar[str] = "Wang et al., HPCA 2021, arXiv:2012.09852"

    msb_bits: Annotated[int, Field(ge=2, le=16)] = 8
    """Bits of K fetched first."""
    lsb_bits: Annotated[int, Field(ge=0, le=8)] = 4
    """Bits of K fetched when a query is unsure; 0: K has one plane and nothing is recomputed."""
    requant_threshold: Fraction = 0.1
    """A query is recomputed with the LSBs if its largest probability is below this."""
    value_bits: Annotated[int, Field(ge=2, le=16)] = 8
    """Bits of V, fetched once."""
    query_bits: Annotated[int, Field(ge=2, le=16)] = 12
    """Bits of Q, which is on chip."""

    def probability(self, step: AttentionStep) -> tuple[Tensor, Tensor | None, Tensor, Precision]:
        """Compute from K's MSBs, and again where the largest probability is below the threshold."""
        precision = Precision(
            q_bits=self.query_bits,
            k_bits=self.msb_bits,
            v_bits=self.value_bits,
            k_lsb_bits=self.lsb_bits,
        )
        probability, recomputed = progressive_probability(step, precision, self.requant_threshold)
        return probability, recomputed, at_precision(step.value, self.value_bits), precision

    def value_codes(self, probability: Tensor, state: CascadeState) -> Tensor:
        """Return the probabilities themselves (section III-C)."""
        return probability_codes(probability)

    def accumulate(
        self,
        layer: int,
        outcome: AttentionOutcome,
        tokens: Tensor,
        heads: Tensor,
        state: CascadeState,
    ) -> tuple[Tensor, Tensor]:
        """Add the layer's probabilities and outputs (section III-A, III-B)."""
        tokens = tokens + received(outcome.probability)
        heads = heads + magnitude(outcome.output)
        check_finite(tokens, "token", layer)
        check_finite(heads, "head", layer)
        return tokens, heads


def received(probability: Tensor) -> Tensor:
    """Return the attention each key received, (batch, key), of (batch, head, query, key)."""
    return probability.sum((1, 2))


def magnitude(output: Tensor) -> Tensor:
    """Return each head's sum of |output|, (batch, head), of (batch, head, query, channel)."""
    return output.abs().sum((2, 3))
