"""Apply a method on the KV cache inside a running decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algos.base import BITS, Batch
from algos.emit import Emitter
from algos.kv.base import CacheAttention, CacheMethod, CacheStep, Reading
from algos.kv.cache import LayerCache
from algos.kv.emit import CacheRecord, emit_cache
from algos.quant.progressive import at_precision
from workloads.attention import AttentionOutput
from workloads.errors import InputError
from workloads.session import LayerInput
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor


class CacheRunner:
    """A handler of one batch: every token enters every block, the cache is the method's."""

    def __init__(self, method: CacheMethod, batch: Batch, sequences: Any, emitter: Emitter) -> None:
        self._method, self._batch, self._emitter = method, batch, emitter
        self._sequences = sequences
        self._state = method.begin(batch)
        self._caches: dict[int, LayerCache] = {}
        self._evicted: dict[int, Tensor] = {}  # (batch, group) entries that the last step dropped

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        """Keep all tokens."""
        return entry

    def attend(self, step: AttentionStep) -> AttentionOutput:
        """Compute one layer from the cache and the new tokens."""
        before = self._caches.get(step.layer)
        cache = self._appended(step, before)
        view = _view(step, cache, self._batch.tokens)
        reading = self._method.read(view, self._state)
        read = _read_mask(view, reading)
        attention = _attention(view, reading, read)
        output = attention.probability @ _to_heads(
            view.value if reading.value is None else reading.value, view
        )
        storing = self._method.store(view, attention, self._state)
        emit_cache(
            self._emitter,
            CacheRecord(
                sequences=self._sequences,
                policy=self._method.policy,
                step=step,
                view=view,
                cache=cache,
                reading=reading,
                read=read,
                evicted=_held(view.ids) * 0 if before is None else self._evicted[step.layer],
            ),
        )
        self._caches[step.layer] = left = cache.apply(storing)
        self._evicted[step.layer] = _held(cache.ids) - _held(left.ids)
        return AttentionOutput(output=output, probability=attention.probability)

    def _appended(self, step: AttentionStep, before: LayerCache | None) -> LayerCache:
        key, value = at_precision(step.key, BITS), at_precision(step.value, BITS)
        if self._method.per_query_head:
            repeat = step.query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
        ids = step.query_ids[:, None].expand(-1, key.shape[1], -1)
        if before is None:
            return LayerCache(key=key, value=value, ids=ids)
        return before.append(key, value, ids)


def _held(ids: Tensor) -> Tensor:
    """Return how many entries each head has, (batch, group)."""
    return (ids >= 0).sum(2)


def _view(step: AttentionStep, cache: LayerCache, prompt_tokens: int) -> CacheStep:
    # without evictions all groups hold the same positions: one mask serves them all
    ids = cache.ids[:, :1] if cache.ids.shape[2] == step.tokens_dense else cache.ids
    visible = ids[:, :, None, :] <= step.query_ids[:, None, :, None]
    if cache.valid is not None:
        visible = visible & cache.valid[:, :, None, :]
    return CacheStep(
        layer=step.layer,
        step=step.step,
        prompt_tokens=prompt_tokens,
        query=at_precision(step.query, BITS),
        key=cache.key,
        value=cache.value,
        ids=cache.ids,
        valid=cache.valid,
        query_ids=step.query_ids,
        visible=visible,
        scale=step.scale,
    )


def _read_mask(view: CacheStep, reading: Reading) -> Tensor:
    """Return what each query reads, (batch, 1 or head, query, entry) bool."""
    visible = _mask_to_heads(view.visible, view)
    if reading.mask is None:
        return visible
    return visible & _mask_to_heads(reading.mask, view)


def _mask_to_heads(mask: Tensor, view: CacheStep) -> Tensor:
    if mask.shape[1] in (1, view.query.shape[1]):
        return mask
    return mask.repeat_interleave(view.repeat, 1)


def _to_heads(x: Tensor, view: CacheStep) -> Tensor:
    return x if view.repeat == 1 else x.repeat_interleave(view.repeat, 1)


def _attention(view: CacheStep, reading: Reading, read: Tensor) -> CacheAttention:
    """Compute the probabilities of what is read.

    Raises:
        InputError: a score is not finite.
    """
    import torch

    key = view.key if reading.key is None else reading.key
    scores = (view.query @ _to_heads(key, view).transpose(2, 3)) * view.scale
    if not bool(scores.isfinite().all()):
        raise InputError(
            f"attention scores must be finite, in layer {view.layer} of step {view.step} one is not"
        )
    lowest = torch.finfo(scores.dtype).min
    probability = torch.softmax(scores.masked_fill(~read, lowest), -1)
    return CacheAttention(scores=scores, probability=probability)
