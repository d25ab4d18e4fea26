"""Methods that choose which contexts of a prompt the model reads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from algos.base import Method, WorkloadKind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PromptInput:
    """A question and what was retrieved for it, embedded by the encoder."""

    question: Tensor  # (width,) unit vector
    contexts: Tensor  # (context, width) unit vectors
    question_tokens: Tensor  # (token, width) last hidden states of the question
    context_tokens: Sequence[Tensor]  # of each context, (token, width) last hidden states


class PromptMethod(Method):
    """Base of methods that choose contexts; abstract."""

    family: ClassVar[str] = "prompt"
    granularity: ClassVar[str] = "context"
    trace_kind: ClassVar[str] = "shorter prompt"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("contexts",)

    @abstractmethod
    def select(self, seen: PromptInput) -> Tensor:
        """Return the kept contexts, (kept,) int64, ascending; none may be kept."""
