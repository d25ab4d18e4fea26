"""Apply a method's decisions on tokens and heads inside a running model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Batch, Decision, Method
from algos.emit import Emitter, LayerRecord
from algos.kv.cache import LayerCache
from algos.static.facts import StaticFacts
from algos.token.base import Between, Seen, TokenMethod
from workloads.attention import AttentionOutput
from workloads.session import LayerInput
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor

Modules = Mapping[str, tuple["Tensor", "Tensor"]]


class LayerRunner:
    """The handler of one batch: applies each decision before the next layer.

    Args:
        method: decides.
        batch: what runs.
        sequences: (batch,) numbers of its sequences in the workload.
        emitter: collects the trace.
        facts: what was pruned before the model ran; None: nothing was.
        cached: keep the K and V of each layer for the tokens that follow, as a decoder does.
    """

    alone: ClassVar[bool] = False  # only one sequence at a time
    kv_policy: ClassVar[str] = "full"  # of the trace

    def __init__(
        self,
        method: Method,
        batch: Batch,
        sequences: Any,
        emitter: Emitter,
        *,
        facts: StaticFacts | None = None,
        cached: bool = False,
    ) -> None:
        import torch

        self._method, self._batch, self._emitter = method, batch, emitter
        self._sequences, self._facts = sequences, facts
        self._state = method.begin(batch)
        self._decision = Decision()  # after the layer before
        self._heads = torch.arange(batch.shape.heads).expand(batch.size, -1)  # alive
        self._importance: Tensor | None = None  # (batch, token) of those that entered the layer
        self._before: Seen | None = None
        self._parked: LayerInput | None = None  # tokens that skip the running block
        self._running: Any = None  # (batch, token) ids of the tokens in the running block
        self._merged = self._revived = self._evicted = 0
        self._caches: dict[int, LayerCache] | None = {} if cached else None
        self.modules: Modules = {}  # of the block that ran last, where the method wants them

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        """Apply what was decided after the last layer, then what is decided between the two."""
        self._merged = 0
        if entry.step == 0:
            entry = self._apply(self._with_parked(entry), self._decision)
            if isinstance(self._method, TokenMethod):
                entry = self._between(self._method, entry)
        self._running = entry.token_ids
        return entry

    def _between(self, method: TokenMethod, entry: LayerInput) -> LayerInput:
        if self._before is not None:
            self._before = replace(self._before, modules=dict(self.modules))
        decision = method.between(
            Between(
                layer=entry.layer,
                step=entry.step,
                hidden=entry.hidden,
                ids=entry.token_ids,
                before=self._before,
                look_ahead=lambda: entry.look_ahead(entry),
            ),
            self._state,
        )
        return self._apply(entry, decision)

    def _apply(self, entry: LayerInput, decision: Decision) -> LayerInput:
        if decision.kept_heads is not None:
            self._heads = self._heads.gather(1, decision.kept_heads)
        importance, kept = decision.token_importance, decision.kept_tokens
        if kept is None and decision.merge is not None:  # every token becomes a mixture of tokens
            entry = replace(entry, hidden=decision.merge @ entry.hidden)
        if importance is not None:
            self._importance = importance
        if kept is not None:
            self._importance = None if importance is None else importance.gather(1, kept)
            merged = None if decision.merge is None else decision.merge @ entry.hidden
            self._merged = 0 if merged is None else entry.hidden.shape[1] - kept.shape[1]
            entry = entry.keep(kept)
            if merged is not None:
                entry = replace(entry, hidden=merged)
        if decision.bypass is not None:
            entry = self._park(entry, decision.bypass)
        return entry

    def _park(self, entry: LayerInput, bypass: Tensor) -> LayerInput:
        """Set the tokens aside that skip the block that comes."""
        self._parked = entry.keep(_ordinals(bypass))
        return entry.keep(_ordinals(~bypass))

    def leave_last(self, _block: Any, _args: Any, output: Any) -> Any:
        """Bring the tokens back that skipped the last block: a forward hook of it."""
        if self._parked is None:
            return None
        hidden = output[0] if isinstance(output, tuple) else output
        entry = replace(self._parked, hidden=hidden, token_ids=self._running)
        whole = self._with_parked(entry).hidden
        return (whole, *output[1:]) if isinstance(output, tuple) else whole

    def _with_parked(self, entry: LayerInput) -> LayerInput:
        """Bring the tokens back that skipped the block that ran."""
        import torch

        parked, self._parked = self._parked, None
        if parked is None:
            return entry
        ids = torch.cat((entry.token_ids, parked.token_ids), 1)
        hidden = torch.cat((entry.hidden, parked.hidden), 1)
        return replace(entry, hidden=hidden, token_ids=ids).keep(ids.argsort(1))

    def attend(self, step: AttentionStep) -> AttentionOutput:
        """Let the method compute the alive heads; pruned heads put out zeros."""
        heads = self._layer_heads(step.layer)
        alive = _of_heads(self._with_cache(step), heads, self._batch.shape.heads)
        outcome = self._method.attend(alive, self._state)
        self._decision = self._method.after_layer(alive, outcome, self._state)
        self._before = Seen(step=alive, outcome=outcome, modules={})
        self._emitter.layer(
            LayerRecord(
                sequences=self._sequences,
                step=alive,
                heads=heads.numpy(),
                importance=self._importance,
                outcome=outcome,
                decision=self._decision,
                merged=self._merged,
                revived=self._revived,
                evicted=self._evicted,
                bypassed=None if self._parked is None else self._parked.token_ids,
            )
        )
        self._importance = None
        return AttentionOutput(
            output=self._all_heads(outcome.output, heads),
            probability=self._all_heads(outcome.probability, heads),
        )

    def _layer_heads(self, layer: int) -> Tensor:
        """Return the ids of the heads that run in a layer, (batch, alive)."""
        if self._facts is None:
            return self._heads
        if self._facts.tokens[layer]["attention_skipped"]:
            return self._heads[:, :0]
        kept = self._facts.heads[layer]
        return self._heads if kept is None else self._heads[:, kept]

    def _with_cache(self, step: AttentionStep) -> AttentionStep:
        """Return the step with all keys that its layer has; all of them are visible later on."""
        if self._caches is None:
            return step
        ids = step.query_ids[:, None].expand(-1, step.key.shape[1], -1)
        cache = LayerCache(key=step.key, value=step.value, ids=ids)
        if step.step:
            cache = self._left(self._caches[step.layer].append(step.key, step.value, ids))
            step = replace(
                step, key=cache.key, value=cache.value, key_ids=cache.ids[:, 0], mask=None
            )
        self._caches[step.layer] = cache
        return step

    def _left(self, cache: LayerCache) -> LayerCache:
        """Return what a layer's cache holds in a later step, its new tokens included: all."""
        return cache

    def _all_heads(self, x: Tensor, heads: Tensor) -> Tensor:
        if x.shape[1] == self._batch.shape.heads:
            return x
        whole = x.new_zeros(len(x), self._batch.shape.heads, *x.shape[2:])
        return whole.scatter(1, _index(heads, x), x)


def _of_heads(step: AttentionStep, heads: Tensor, heads_dense: int) -> AttentionStep:
    """Return the step of some heads, with K and V of each one's key head."""
    kv_heads = step.key.shape[1]
    if heads.shape[1] == heads_dense == kv_heads:
        return step
    of_key = heads // (heads_dense // kv_heads)
    return replace(
        step,
        query=_take(step.query, heads),
        key=_take(step.key, of_key),
        value=_take(step.value, of_key),
    )


def _ordinals(mask: Tensor) -> Tensor:
    """Return (batch, k) of a mask (batch, n) with k true in each row."""
    return mask.nonzero()[:, 1].view(len(mask), -1)


def _take(x: Tensor, heads: Tensor) -> Tensor:
    """Return the heads (batch, kept) of x (batch, head, token, channel)."""
    return x.gather(1, _index(heads, x))


def _index(heads: Tensor, x: Tensor) -> Tensor:
    return heads[:, :, None, None].expand(-1, -1, *x.shape[2:])
