"""DToP: tokens that the model is already sure of stop early.

Tang et al., ICCV 2023, arXiv:2308.01045.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Batch, Decision, Fraction, Parity, Ratio, WorkloadKind
from algos.token.base import Between, TokenMethod
from algos.token.shared import equal_cuts, top_ordinals

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class ExitState:
    """What one batch remembers."""

    counts: dict[int, int]  # tokens that go on after each stage, the class token not counted
    first: int  # class tokens
    entered: Tensor | None = None  # (batch, token, hidden) hidden states one block before
    finished: Tensor | None = None  # (batch, token) bool


class DToP(TokenMethod):
    """Let the tokens whose hidden states have settled skip all later blocks.

    Represented by a substitute: the paper grades tokens by trained segmentation heads and keeps the
    5 surest of each class as context. Here a token is sure if the block before turned it little
    (cosine), and the surest of all stay as context. Where stages end is an estimate.
    """

    name: ClassVar[str] = "dtop"
    family: ClassVar[str] = "depth"
    signal: ClassVar[str] = "cosine of hidden states before and after a block"
    paper: ClassVar[str] = "Tang et al., ICCV 2023, arXiv:2308.01045"
    granularity: ClassVar[str] = "token"
    trace_kind: ClassVar[str] = "token depth"
    training: ClassVar[str] = "auxiliary heads in the paper; none here"
    parity: ClassVar[Parity] = "description"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("images",)

    keep_ratio: Ratio = 0.5
    """Tokens that still go on after the last stage, rounded down, at least 1."""
    first_stage: Fraction = 1 / 3
    """Share of the depth at which tokens first finish."""
    last_stage: Fraction = 2 / 3
    """Share of the depth at which tokens last finish."""
    stages: Annotated[int, Field(ge=1)] = 2
    """Stages, evenly spaced; as many tokens finish at each."""
    context: Annotated[int, Field(ge=0)] = 5
    """Surest tokens that never finish."""

    def begin(self, batch: Batch) -> ExitState:
        """Return the schedule of this batch."""
        first = int(batch.layout.class_token)
        spacing = self.first_stage, self.last_stage, self.stages
        n = batch.tokens - first
        counts = equal_cuts(*spacing, self.keep_ratio, batch.shape.layers, n)
        return ExitState(counts, first)

    def between(self, entry: Between, state: ExitState) -> Decision:
        """Finish tokens at a stage; those finished skip every block."""
        import torch

        before, state.entered = state.entered, entry.hidden
        if state.finished is None:
            state.finished = torch.zeros(entry.ids.shape, dtype=torch.bool)
        left = state.counts.get(entry.layer)
        if left is not None and before is not None:
            confidence = settled(before, entry.hidden)[:, state.first :]
            done = finished(confidence, state.finished[:, state.first :], left, self.context)
            state.finished = state.finished.clone()
            state.finished[:, state.first :] = done
        return Decision(bypass=state.finished) if bool(state.finished.any()) else Decision()


def settled(before: Tensor, after: Tensor) -> Tensor:
    """Return the cosine of each token before and after a block, (batch, token)."""
    from torch.nn.functional import cosine_similarity

    return cosine_similarity(before, after, dim=-1)


def finished(confidence: Tensor, already: Tensor, left: int, context: int) -> Tensor:
    """Return which tokens are finished, (batch, token) bool, so that `left` go on.

    Args:
        confidence: (batch, token), at most 1.
        already: (batch, token) bool, finished before; as many in each row.
        left: tokens that go on.
        context: of them, the surest not finished before.
    """
    import torch

    running = confidence.masked_fill(already, -2.0)  # below every cosine
    surest = top_ordinals(running, min(context, left))
    on = (-confidence).masked_fill(already, -2.0).scatter(1, surest, 2.0)
    going = top_ordinals(on, left)
    return torch.ones_like(already).scatter(1, going, False)
