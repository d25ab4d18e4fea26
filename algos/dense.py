"""Dense: nothing is pruned. The control that every saving is measured against."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from algos.base import AttentionOutcome, Method, Parity, Precision, WorkloadKind
from algos.quant.progressive import FLOAT_BITS, at_precision
from workloads.attention import attention_probability
from workloads.step import AttentionStep

_FIXED_BITS_MAX = 16


def _known_bits(bits: int) -> int:
    if _FIXED_BITS_MAX < bits < FLOAT_BITS:
        raise ValueError(f"Dense bits must be 2 to 16, or 32 for float, not {bits}")
    return bits


class Dense(Method):
    """Attention with every token, head and value, in the precision of the reference machine."""

    name: ClassVar[str] = "dense"
    family: ClassVar[str] = "control"
    signal: ClassVar[str] = "none"
    paper: ClassVar[str] = "none"
    granularity: ClassVar[str] = "none"
    trace_kind: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = (
        "sentences",
        "text",
        "images",
        "questions",
        "contexts",
    )

    bits: Annotated[int, Field(ge=2, le=FLOAT_BITS), AfterValidator(_known_bits)] = 12
    """Bits of Q, K and V, 2 to 16; 32: not quantised."""

    def attend(self, step: AttentionStep, state: Any) -> AttentionOutcome:
        """Compute attention from quantised Q, K and V."""
        query, key, value = (at_precision(x, self.bits) for x in (step.query, step.key, step.value))
        probability = attention_probability(query, key, step.scale, step.mask)
        return AttentionOutcome(
            output=probability @ value,
            probability=probability,
            precision=Precision(q_bits=self.bits, k_bits=self.bits, v_bits=self.bits),
        )
