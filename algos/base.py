"""What a pruning method is: what it is given, and what it answers.

A method is a frozen configuration. For each batch of equally long sequences it makes a state
(`begin`), computes the attention of each layer (`attend`), and then decides which tokens and
heads enter the next layer (`after_layer`). It never touches the model or the trace: the harness
applies the decision, so what was dropped is simply not in the next `AttentionStep`, and
`algos.emit` writes the trace. All tensors are float32 unless said otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from workloads.config import Config
from workloads.shapes import ModelShape
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Sequences of one length that run together."""

    shape: ModelShape
    tokens: int
    generators: tuple[Generator, ...]  # one a sequence: its randomness ignores its neighbours

    @property
    def size(self) -> int:
        return len(self.generators)


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bits in which Q, K and V are fetched; 32: as the model computes them, in float."""

    q_bits: int
    k_bits: int  # all, or the MSB plane if `k_lsb_bits` is not 0
    v_bits: int
    k_lsb_bits: int = 0  # the plane of K fetched on demand
    v_lsb_bits: int = 0


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Top-k selections that hardware must perform at run time, all with one n and one k."""

    kind: str  # "token", "head", "value" or "key"
    codes: Tensor  # (batch, group, operation, n) int32, 0..4095: what the selector sees
    k: int  # elements each operation keeps
    per_head: bool  # True: a group is an alive head; False: there is one group, the layer


@dataclass(frozen=True, kw_only=True)
class AttentionOutcome:
    """What a method computed for one layer: the numbers and what they would cost."""

    output: Tensor  # (batch, head, query, channel), alive heads only
    probability: Tensor  # (batch, head, query, key)
    precision: Precision
    values_used: Tensor | None = None  # (batch, head, query, key) bool, the same number in each
    # row; None: every query uses every V row
    recomputed: Tensor | None = None  # (batch, head, query) bool; None: none was
    selections: tuple[Selection, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What enters the next layer. The default keeps everything and knows nothing."""

    kept_tokens: Tensor | None = None  # (batch, kept) int64, ascending, among the layer's tokens
    kept_heads: Tensor | None = None  # (batch, kept) int64, ascending, among the alive heads
    token_importance: Tensor | None = None  # (batch, token) of the layer's tokens
    head_importance: Tensor | None = None  # (batch, head) of the alive heads
    selections: tuple[Selection, ...] = ()


class Method(Config, ABC):
    """A pruning method and its parameters. Frozen: what changes in a run is in the state."""

    name: ClassVar[str]  # on the command line, in `METHODS` and in traces
    family: ClassVar[str]  # what is pruned
    signal: ClassVar[str]  # what the decision is based on
    paper: ClassVar[str]  # where it was published

    def begin(self, batch: Batch) -> Any:
        """Return the state of a new batch; the other calls get it back and may change it."""
        return None

    @abstractmethod
    def attend(self, step: AttentionStep, state: Any) -> AttentionOutcome:
        """Compute the attention of one layer for the tokens and heads that are alive."""

    def after_layer(self, step: AttentionStep, outcome: AttentionOutcome, state: Any) -> Decision:
        """Decide what enters the next layer; by default everything."""
        return Decision()
