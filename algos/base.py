"""What a pruning method is: what it is given, and what it answers.

A method is a frozen configuration. It sees one frozen step of named arrays and returns a
decision; it never touches the model or the trace. The harness applies the decision, so what was
dropped is simply not in the next step, and `algos.emit` writes the trace. All tensors are float32
unless said otherwise.

What a method sees depends on what it prunes, so there is one base class for each kind of
decision: here the attention of a layer (`Method.attend`, `after_layer`), in `algos.token.base` the
tokens between two blocks, in `algos.kv.base` the KV cache, in `algos.visual.base` the visual
tokens before the language model, in `algos.prompt.base` the contexts of a prompt, in
`algos.static.base` everything that is decided once, before the model runs.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from workloads.config import Config
from workloads.shapes import ModelShape
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from workloads.capture import CapturedLayer

Ratio = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]

BITS = 12  # of Q, K and V where a method does not say otherwise: SpAtten's on-chip width

Parity = Literal["authors", "hand", "description"]
"""How a method was checked: its outputs equal those of the authors' program; it was checked
against cases worked by hand from the paper's rule; or it was made from a description, because
neither a program nor an exact rule is published."""

WorkloadKind = Literal["sentences", "text", "images", "questions", "contexts"]
"""What a method can run on: an encoder on sentence pairs, a decoder on text, a vision transformer
on images, a vision-language model on questions, contexts retrieved for a question."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the tokens of an input are."""

    class_token: bool = False  # the first token gathers the others
    visual: range | None = None  # positions of visual tokens; None: there are none
    grid: tuple[int, int] | None = None  # rows and columns of the visual tokens


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the unpruned model computed on sequences that accuracy is not measured on."""

    tokens: Tensor  # (sequence, token) ids
    layers: Sequence[CapturedLayer]  # what each layer computed of them


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Sequences of one length that run together."""

    shape: ModelShape
    tokens: int  # of the prompt
    generators: tuple[Generator, ...]  # one a sequence: its randomness ignores its neighbours
    layout: Layout = Layout()
    calibration: Any = None  # what `Method.calibrate` returned
    decodes: bool = False  # the output of the last token predicts what follows it

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
    merge: Tensor | None = None  # (batch, kept, token) weights: what each kept token becomes of
    # all the layer's tokens; None: it stays as it is
    bypass: Tensor | None = None  # (batch, token) bool, as many in each row: tokens that skip the
    # coming block, where nothing attends to them. None: none does
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
    granularity: ClassVar[str]  # the unit that is kept or dropped
    trace_kind: ClassVar[str]  # one of `TRACE_KINDS`
    training: ClassVar[str] = "none"  # what must be learnt or measured before
    parity: ClassVar[Parity]
    workloads: ClassVar[tuple[WorkloadKind, ...]]  # what it runs on
    calibrated: ClassVar[bool] = False  # whether `calibrate` must be called before

    def calibrate(self, seen: Calibration) -> Any:
        """Return what batches need to know of calibration data, as `Batch.calibration`."""
        return None

    def begin(self, batch: Batch) -> Any:
        """Return the state of a new batch; the other calls get it back and may change it."""
        return None

    def attend(self, step: AttentionStep, state: Any) -> AttentionOutcome:
        """Compute the attention of one layer for the tokens and heads that are alive.

        By default all of it, from Q, K and V in `BITS` bits.
        """
        from algos.quant.progressive import at_precision
        from workloads.attention import dense_attention

        query, key, value = (at_precision(x, BITS) for x in (step.query, step.key, step.value))
        result = dense_attention(replace(step, query=query, key=key, value=value))
        return AttentionOutcome(
            output=result.output,
            probability=result.probability,
            precision=Precision(q_bits=BITS, k_bits=BITS, v_bits=BITS),
        )

    def after_layer(self, step: AttentionStep, outcome: AttentionOutcome, state: Any) -> Decision:
        """Decide what enters the next layer; by default everything."""
        return Decision()


TRACE_KINDS = (
    "none",
    "token mask",
    "visual tokens",
    "merge map",
    "head mask",
    "head class",
    "KV set, evict",
    "KV set, revive",
    "KV set, re-select",
    "KV channels",
    "KV elements",
    "block mask",
    "delta mask",
    "weights, unstructured",
    "weights, N:M",
    "weights, structured",
    "layer skip",
    "experts",
    "token depth",
    "precision",
    "shorter prompt",
)
"""What a machine reads in the trace of a method."""
