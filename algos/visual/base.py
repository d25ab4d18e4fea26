"""Methods that choose, once, which visual tokens enter the language model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from algos.base import Method, Ratio, WorkloadKind
from algos.selection import keep_count

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class VisualInput:
    """Everything known when the vision encoder has run. n visual tokens, one class token."""

    features: Tensor  # (batch, n, width) as the language model gets them
    encoder_features: Tensor  # (batch, n, hidden) before the projector
    attention: Sequence[Tensor]  # of each encoder layer, (batch, head, 1 + n, 1 + n)
    keys: Sequence[Tensor]  # of each encoder layer, (batch, head, 1 + n, channel)
    values: Sequence[Tensor]
    grid: tuple[int, int]  # rows and columns of the visual tokens
    pixels: Tensor  # (batch, channel, height, width)
    text: Tensor  # (batch, token, width) embeddings of the question
    project: Callable[[Tensor], Tensor]  # encoder features to features
    generators: tuple[Generator, ...]  # one an image


@dataclass(frozen=True, kw_only=True)
class Selected:
    """What enters the language model."""

    kept: Tensor  # (batch, kept) int64, ascending, among the visual tokens
    merge: Tensor | None = None  # (batch, kept, n) weights of all tokens in each kept one; None:
    # kept tokens stay as they are


class VisualMethod(Method):
    """Base of methods that choose visual tokens; abstract."""

    family: ClassVar[str] = "visual"
    granularity: ClassVar[str] = "visual token"
    trace_kind: ClassVar[str] = "visual tokens"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("questions",)

    keep_ratio: Ratio = 0.25
    """Visual tokens kept, rounded down, at least 1."""

    def kept(self, n: int) -> int:
        """Return how many of `n` visual tokens are kept."""
        return keep_count(self.keep_ratio, n)

    @abstractmethod
    def select(self, seen: VisualInput) -> Selected:
        """Choose the tokens."""
