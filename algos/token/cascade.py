"""Cascade pruning: what SpAtten and its random control share.

Tokens, heads and, inside each head, V rows are selected by top-k on 12-bit numbers; a token or a
head that is dropped is gone from every following layer. Which numbers decide is the subclass's
business. SpAtten, HPCA 2021, section III and the schedules of its evaluation methodology.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
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
from algos.selection import importance_codes, keep_count, keep_ratios, kept_ids, top_mask
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass
class CascadeState:
    """What one batch has accumulated so far, for the tokens and heads that are alive."""

    token_ratios: tuple[float, ...]  # kept of what enters each layer
    head_ratios: tuple[float, ...]
    heads_dense: int
    generators: tuple[Generator, ...]
    token_importance: Tensor  # (batch, token)
    head_importance: Tensor  # (batch, head)


class CascadeMethod(Method):
    """Parameters and selections of cascade pruning; abstract."""

    granularity: ClassVar[str] = "token; head; V row"
    trace_kind: ClassVar[str] = "token mask"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("sentences",)

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
    traces, or the count of the layer before, which compounds, as the paper's formula reads."""

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
        self, step: AttentionStep, outcome: AttentionOutcome, state: CascadeState
    ) -> None:
        """Add this layer to the importances in `state`."""

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
            heads_dense=batch.shape.heads,
            generators=batch.generators,
            token_importance=torch.zeros(batch.size, batch.tokens),
            head_importance=torch.zeros(batch.size, batch.shape.heads),
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
        """Select the tokens and heads of the next layer; after the last one nothing."""
        self.accumulate(step, outcome, state)
        tokens, heads = state.token_importance, state.head_importance
        chosen: list[Selection] = []
        kept_tokens = kept_heads = None
        following = step.layer + 1
        if following < len(state.token_ratios):
            keep = self._count(state.token_ratios[following], tokens.shape[1], step.tokens_dense)
            kept_tokens = _select("token", tokens, keep, chosen)
            keep = self._count(state.head_ratios[following], heads.shape[1], state.heads_dense)
            kept_heads = _select("head", heads, keep, chosen)
        if kept_tokens is not None:
            state.token_importance = tokens.gather(1, kept_tokens)
        if kept_heads is not None:
            state.head_importance = heads.gather(1, kept_heads)
        return Decision(
            kept_tokens=kept_tokens,
            kept_heads=kept_heads,
            token_importance=tokens,
            head_importance=heads,
            selections=tuple(chosen),
        )

    def _end(self, kind: str) -> float:
        average: float = getattr(self, f"{kind}_keep_ratio")
        end: float | None = getattr(self, f"{kind}_keep_ratio_end")
        return max(2 * average - 1, average * 2 / 3) if end is None else end

    def _count(self, ratio: float, alive: int, dense: int) -> int:
        return min(alive, keep_count(ratio, dense if self.ratio_of == "input" else alive))


def _select(kind: str, importance: Tensor, keep: int, chosen: list[Selection]) -> Tensor | None:
    """Return the ordinals kept and note the selection; None if there is nothing to select."""
    if keep == importance.shape[1]:
        return None
    codes = importance_codes(importance)
    chosen.append(Selection(kind=kind, codes=codes[:, None, None], k=keep, per_head=False))
    return kept_ids(top_mask(codes, keep))
