"""Cascade pruning: what SpAtten and its random control share.

Tokens, heads and, inside each head, V rows are selected by top-k on 12-bit numbers; a token or a
head that is dropped is gone from every following layer and, in a decoder, from those layers of
every following step. Which numbers decide is the subclass's business. SpAtten, HPCA 2021, section
III and the schedules of its evaluation methodology.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from algos.base import (
    AttentionOutcome,
    Batch,
    Decision,
    Fraction,
    Method,
    Precision,
    Ratio,
    Selection,
    WorkloadKind,
)
from algos.selection import keep_count, keep_ratios, top_mask
from algos.token.cascade_state import CascadeState, select
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor


class CascadeMethod(Method):
    """Parameters and selections of cascade pruning; abstract."""

    granularity: ClassVar[str] = "token; head; V row"
    trace_kind: ClassVar[str] = "token mask"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("sentences", "text", "questions")

    token_keep_ratio: Ratio = 0.85
    """Tokens kept, averaged over the layers that are pruned."""
    token_keep_ratio_end: Ratio | None = None
    """Tokens kept in the last layer; the first pruned layer keeps as much above the average as
    this is below. None: twice the average less 1, at least two thirds of the average."""
    token_unpruned_fraction: Fraction = 0.15
    """Share of the layers, from the first, that keep every token."""
    head_keep_ratio: Ratio = 0.96
    """Heads kept, averaged over the layers that are pruned."""
    head_keep_ratio_end: Ratio | None = None
    """Heads kept in the last layer; none: as for tokens."""
    head_unpruned_fraction: Fraction = 0.30
    """Share of the layers, from the first, that keep every head."""
    value_keep_ratio: Ratio = 0.5
    """V rows that each query of each head uses."""
    ratio_of: Literal["input", "layer"] = "input"
    """What the token and head ratios are a share of: the unpruned count, as in the released
    traces, which grows with every generated token, or the count of the layer before, which
    compounds, as the paper's formula reads."""

    def model_post_init(self, context: Any) -> None:
        """Check that each average and end allow a start of at most 1."""
        for kind in ("token", "head"):
            average, end = getattr(self, f"{kind}_keep_ratio"), self._end(kind)
            name = f"{type(self).__name__} {kind}_keep_ratio_end"
            if end > average:
                raise ValueError(f"{name} must be at most the average ({average}), not {end}")
            if 2 * average - end > 1 + 1e-9:
                least = round(2 * average - 1, 6)
                raise ValueError(f"{name} must be at least {least} (start at most 1), not {end}")

    @abstractmethod
    def probability(self, step: AttentionStep) -> tuple[Tensor, Tensor | None, Tensor, Precision]:
        """Return attention probabilities, which queries were recomputed, V, and their bits."""

    @abstractmethod
    def value_codes(self, probability: Tensor, state: CascadeState) -> Tensor:
        """Return what the V selector sees, (batch, head, query, key) int32 in 0..4095."""

    @abstractmethod
    def accumulate(
        self,
        layer: int,
        outcome: AttentionOutcome,
        tokens: Tensor,
        heads: Tensor,
        state: CascadeState,
    ) -> tuple[Tensor, Tensor]:
        """Return the importances of tokens (batch, key) and heads (batch, head) after a layer.

        Args:
            layer: its number.
            outcome: what it computed of the tokens and heads that are alive.
            tokens: (batch, key) their importances before it.
            heads: (batch, head).
            state: of the batch.
        """

    def begin(self, batch: Batch) -> CascadeState:
        """Return a state with no importance yet and the schedule of this model's layers."""
        import torch

        layers = batch.shape.layers
        return CascadeState(
            token_ratios=keep_ratios(
                layers, self.token_keep_ratio, self._end("token"), self.token_unpruned_fraction
            ),
            head_ratios=keep_ratios(
                layers, self.head_keep_ratio, self._end("head"), self.head_unpruned_fraction
            ),
            generators=batch.generators,
            guarded=int(batch.decodes),
            token_importance=torch.zeros(batch.size, batch.tokens),
            head_importance=torch.zeros(batch.size, batch.shape.heads),
            heads=torch.arange(batch.shape.heads).expand(batch.size, -1),
        )

    def attend(self, step: AttentionStep, state: CascadeState) -> AttentionOutcome:
        """Compute attention in which each query uses only its selected V rows.

        The probabilities of the rows left are not renormalised.
        """
        probability, recomputed, value, precision = self.probability(step)
        keys = probability.shape[-1]
        k = keep_count(self.value_keep_ratio, keys)
        weight, used = probability, None
        selections: tuple[Selection, ...] = ()
        if k < keys:
            codes = self.value_codes(probability, state)
            used = top_mask(codes, k)
            weight = probability * used
            selections = (Selection(kind="value", codes=codes, k=k, per_head=True),)
        return AttentionOutcome(
            output=weight @ value,
            probability=probability,
            precision=precision,
            values_used=used,
            recomputed=recomputed,
            selections=selections,
        )

    def after_layer(
        self, step: AttentionStep, outcome: AttentionOutcome, state: CascadeState
    ) -> Decision:
        """Select the tokens and heads of the next layer; after the last one nothing.

        `kept_tokens` are ordinals of the layer's keys: in a later step those of its cache.
        """
        state.enter(step)
        ids, heads = step.key_ids, state.heads
        of_tokens, of_heads = self.accumulate(
            step.layer,
            outcome,
            state.token_importance.gather(1, ids),
            state.head_importance.gather(1, heads),
            state,
        )
        state.token_importance.scatter_(1, ids, of_tokens)
        state.head_importance.scatter_(1, heads, of_heads)
        chosen: list[Selection] = []
        kept_tokens = kept_heads = None
        following = step.layer + 1
        if following < len(state.token_ratios):
            keep = self._count(state.token_ratios[following], ids.shape[1], step.tokens_dense)
            may = state.tokens_that_may(step)
            kept_tokens = select("token", of_tokens, may, keep, chosen, state.guarded)
            dense = state.head_importance.shape[1]
            keep = self._count(state.head_ratios[following], heads.shape[1], dense)
            kept_heads = select("head", of_heads, state.heads_that_may(step.layer), keep, chosen)
            state.tokens_left[following] = (
                ids if kept_tokens is None else ids.gather(1, kept_tokens)
            )
            state.heads = heads if kept_heads is None else heads.gather(1, kept_heads)
            state.heads_left[following] = state.heads
        return Decision(
            kept_tokens=kept_tokens,
            kept_heads=kept_heads,
            token_importance=of_tokens,
            head_importance=of_heads,
            selections=tuple(chosen),
        )

    def _end(self, kind: str) -> float:
        average: float = getattr(self, f"{kind}_keep_ratio")
        end: float | None = getattr(self, f"{kind}_keep_ratio_end")
        return max(2 * average - 1, average * 2 / 3) if end is None else end

    def _count(self, ratio: float, alive: int, dense: int) -> int:
        return keep_count(ratio, dense if self.ratio_of == "input" else alive)
