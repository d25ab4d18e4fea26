"""Write what methods computed as rows of a trace. Shared by all methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.base import AttentionOutcome, Decision, Selection
from algos.columns import Array, Collector, Lists
from algos.products import Products
from algos.static.facts import StaticFacts
from workloads.shapes import ModelShape
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor

NOTES = "layers with weights run in float32: only Q, K and V are quantised"


@dataclass(frozen=True, kw_only=True)
class LayerRecord:
    """One layer of one batch: what entered it, what it computed, what was decided after it."""

    sequences: Array  # (batch,) numbers of the sequences in the workload
    step: AttentionStep  # of the alive heads
    heads: Array  # (batch, alive) ids of the alive heads, ascending
    importance: Tensor | None  # (batch, token) accumulated before the layer; None: unknown
    outcome: AttentionOutcome
    decision: Decision
    merged: int = 0  # tokens that went into others before the layer
    revived: int = 0  # tokens that came back before the layer
    evicted: int = 0  # tokens that left the layer's cache before this step
    bypassed: Tensor | None = None  # (batch, token) ids of those that skip the layer


class Emitter:
    """Collects what each layer of each step did as columns."""

    def __init__(
        self, shape: ModelShape, *, record_scores: bool, facts: StaticFacts | None = None
    ) -> None:
        self.rows = Collector()
        self.shape = shape
        self._record_scores = record_scores
        self.products = Products(self.rows, shape, facts)
        self._facts = facts  # what was pruned before the model ran; None: nothing was
        self.kv_policy = "full"  # which tokens a layer's cache may hold
        self._shortened = 0  # tokens that were taken from the prompts before the model ran

    def batch(
        self, sequences: Array, tokens_dense: int, tokens: int | None = None, generated: int = 0
    ) -> None:
        """Declare sequences of `tokens_dense` tokens each, `tokens` after they were shortened.

        The rows that follow belong to them, until the next call.
        """
        self._shortened = 0 if tokens is None else tokens_dense - tokens
        self.rows.add(
            "sequences",
            len(sequences),
            sequence=sequences,
            tokens_dense=tokens_dense,
            tokens=tokens_dense if tokens is None else tokens,
            generated_tokens=generated,
        )

    def tokens_dense(self, step: AttentionStep) -> int:
        """Return the tokens so far of the unpruned sequence."""
        return step.tokens_dense + self._shortened

    def layer(self, record: LayerRecord) -> None:
        """Add the rows of one layer of one batch."""
        self._attention(record)
        self.products.layer(
            record.sequences, record.step, self.tokens_dense(record.step), record.heads
        )
        self._tokens(record)
        for selection in (*record.outcome.selections, *record.decision.selections):
            self._topk(record, selection)

    def _attention(self, record: LayerRecord) -> None:
        shape, step, outcome = self.shape, record.step, record.outcome
        batch, alive_heads = record.heads.shape
        queries, keys = step.query.shape[2], step.key.shape[2]
        alive = np.zeros((batch, shape.heads), bool)
        np.put_along_axis(alive, record.heads, True, 1)
        alive = alive.reshape(-1)  # row-major: the true places are the alive heads in order
        rows, heads = len(alive), batch * alive_heads
        ids = np.repeat(_int32(step.key_ids), alive_heads, 0)
        used = np.ones((heads, keys), bool)
        if outcome.values_used is not None:
            used = outcome.values_used.any(2).numpy().reshape(heads, keys)
        values = keys
        if outcome.values_used is not None:
            values = int(outcome.values_used[0, 0, 0].sum())
        recomputed = np.zeros((heads, queries), bool)
        if outcome.recomputed is not None:
            recomputed = outcome.recomputed.numpy().reshape(heads, queries)
        head_importance = np.full(rows, None, object)  # none becomes null
        if record.decision.head_importance is not None:
            head_importance[alive] = record.decision.head_importance.numpy().reshape(-1)
        head = np.tile(np.arange(shape.heads), batch)
        ordinals = np.broadcast_to(np.arange(queries, dtype=np.int32), (heads, queries))
        precision = outcome.precision
        self.rows.add(
            "attention",
            rows,
            sequence=np.repeat(record.sequences, shape.heads),
            step=step.step,
            layer=step.layer,
            head=head,
            kv_head=head // (shape.heads // shape.kv_heads),
            alive=alive,
            queries_dense=queries if step.step else self.tokens_dense(step),
            queries=np.where(alive, queries, 0),
            keys_dense=self.tokens_dense(step),
            keys=np.where(alive, keys, 0),
            values=np.where(alive, values, 0),
            values_fetched=_spread(used.sum(1), alive),
            head_dim=shape.head_dim,
            q_bits=precision.q_bits,
            k_bits=precision.k_bits,
            v_bits=precision.v_bits,
            k_lsb_bits=precision.k_lsb_bits,
            v_lsb_bits=precision.v_lsb_bits,
            recomputed=_spread(recomputed.sum(1), alive),
            head_importance=head_importance,
            kv_policy=self.kv_policy,
            keys_evicted=np.where(alive, record.evicted, 0),
            keys_revived=np.where(alive, record.revived, 0),
            key_ids=Lists.of_rows(ids).spread(alive),
            value_ids=Lists.of_mask(ids, used).spread(alive),
            recomputed_queries=Lists.of_mask(ordinals, recomputed).spread(alive),
        )

    def _tokens(self, record: LayerRecord) -> None:
        step, batch = record.step, len(record.sequences)
        ids = _int32(step.key_ids)  # a later step finds the tokens that its layer has left
        if record.bypassed is not None:
            ids = np.sort(np.concatenate((ids, _int32(record.bypassed)), 1), 1)
        importance = Lists.unknown(batch)
        if record.importance is not None:
            importance = Lists.of_rows(record.importance.numpy())
        self.rows.add(
            "tokens",
            batch,
            sequence=record.sequences,
            step=step.step,
            layer=step.layer,
            tokens_dense=self.tokens_dense(step),
            alive=ids.shape[1],
            merged=record.merged,
            revived=record.revived,
            token_ids=Lists.of_rows(ids),
            importance=importance,
            **self._bypassed(record),
            **({} if self._facts is None else self._facts.tokens[step.layer]),
        )

    def _bypassed(self, record: LayerRecord) -> dict[str, Any]:
        batch, ids = len(record.sequences), record.bypassed
        if ids is None:
            return {"bypassed": 0, "bypassed_ids": Lists.unknown(batch)}
        return {"bypassed": ids.shape[1], "bypassed_ids": Lists.of_rows(_int32(ids))}

    def _topk(self, record: LayerRecord, selection: Selection) -> None:
        batch, groups, operations, n = selection.codes.shape
        rows = batch * groups
        scores = Lists.unknown(rows)
        if self._record_scores:
            scores = Lists.of_rows(selection.codes.numpy().astype(np.uint16).reshape(rows, -1))
        self.rows.add(
            "topk",
            rows,
            sequence=np.repeat(record.sequences, groups),
            step=record.step.step,
            layer=record.step.layer,
            kind=selection.kind,
            head=record.heads.reshape(-1) if selection.per_head else -1,
            operations=operations,
            n=n,
            k=selection.k,
            scores=scores,
        )


def _int32(ids: Tensor) -> Array:
    whole: Array = ids.numpy().astype(np.int32)
    return whole


def _spread(counts: Array, places: Array) -> Array:
    """Put `counts` where `places` is true and 0 elsewhere."""
    whole = np.zeros(len(places), np.int64)
    whole[places] = counts
    return whole
