"""Rows of a trace for one layer of one step on a KV cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algos.base import BITS
from algos.columns import Array, Lists
from algos.emit import Emitter
from algos.kv.base import CacheStep, Reading
from algos.kv.cache import LayerCache
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CacheRecord:
    """What a layer of a step read, and of what."""

    sequences: Array  # (batch,) numbers
    policy: str  # of the method
    step: AttentionStep
    view: CacheStep
    cache: LayerCache  # with the new tokens, before anything is evicted
    reading: Reading
    read: Tensor  # (batch, 1 or head, query, entry) bool
    evicted: Tensor  # (batch, group) entries dropped since the last step


def emit_cache(emitter: Emitter, record: CacheRecord) -> None:
    """Add the rows of one layer of one step."""
    step, view = record.step, record.view
    batch, heads = view.query.shape[:2]
    emitter.rows.add(
        "attention", batch * heads, **_places(emitter, record), **_counts(record), **_inside(record)
    )
    emitter.products.layer(
        record.sequences, step, emitter.tokens_dense(step), np.tile(np.arange(heads), (batch, 1))
    )
    emitter.rows.add(
        "tokens",
        batch,
        sequence=record.sequences,
        step=step.step,
        layer=step.layer,
        tokens_dense=emitter.tokens_dense(step),
        alive=step.tokens_dense,
        token_ids=Lists.unknown(batch),
    )


def _places(emitter: Emitter, record: CacheRecord) -> dict[str, Any]:
    """Return where the rows belong, and what the head's cache may hold."""
    shape, step, reading = emitter.shape, record.step, record.reading
    batch = len(record.sequences)
    head = np.tile(np.arange(shape.heads), batch)
    policies = reading.policies or (record.policy,) * shape.heads
    return {
        "sequence": np.repeat(record.sequences, shape.heads),
        "step": step.step,
        "layer": step.layer,
        "head": head,
        "kv_head": head // (shape.heads // shape.kv_heads),
        "queries_dense": step.query.shape[2] if step.step else emitter.tokens_dense(step),
        "queries": step.query.shape[2],
        "keys_dense": emitter.tokens_dense(step),
        "head_dim": shape.head_dim,
        "q_bits": BITS,
        "k_bits": BITS,
        "v_bits": BITS,
        "kv_policy": np.tile(np.array(policies), batch),
        "sink_tokens": reading.sink_tokens,
        "recent_tokens": reading.recent_tokens,
        "scored_keys": reading.scored_keys,
        "scored_channels": reading.scored_channels,
    }


def _counts(record: CacheRecord) -> dict[str, Any]:
    """Return how many keys are read, which, and in which blocks."""
    view, read, reading = record.view, record.read, record.reading
    batch, heads, queries = view.query.shape[:3]
    rows = batch * heads
    used = read.any(2).expand(batch, heads, -1).reshape(rows, -1).numpy()
    ids = _per_head(view.ids, heads).reshape(rows, -1).numpy().astype(np.int32)
    keys = used.sum(1)
    found: dict[str, Any] = {
        "keys": keys,
        "values": keys,
        "values_fetched": keys,
        "keys_evicted": _per_head(record.evicted, heads).reshape(rows).numpy(),
        "key_ids": Lists.of_mask(ids, used) if queries == 1 else Lists.unknown(rows),
        "block_queries": 0,
        "block_keys": 0,
        "blocks": 0,
        "block_counts": Lists.unknown(rows),
        "block_ids": Lists.unknown(rows),
    }
    return found if reading.block is None else found | _blocks(record, reading.block)


def _blocks(record: CacheRecord, block: tuple[int, int]) -> dict[str, Any]:
    """Return which blocks of queries and entries hold anything that is read."""
    from torch.nn.functional import pad

    batch, heads, queries = record.view.query.shape[:3]
    entries = record.view.entries
    high, wide = block
    whole = pad(record.read, (0, -entries % wide, 0, -queries % high))
    tall, broad = whole.shape[2] // high, whole.shape[3] // wide
    whole = whole.view(*whole.shape[:2], tall, high, broad, wide).any(5).any(3)
    mask = whole.expand(batch, heads, -1, -1).reshape(batch * heads, *whole.shape[2:]).numpy()
    counts = mask.sum(2)
    columns = np.broadcast_to(np.arange(mask.shape[2], dtype=np.int32), mask.shape)
    given = np.ones(len(mask), bool)
    return {
        "block_queries": high,
        "block_keys": wide,
        "blocks": counts.sum(1),
        "block_counts": Lists.of_rows(counts.astype(np.int32)),
        "block_ids": Lists(columns[mask], counts.sum(1), given),
    }


def _inside(record: CacheRecord) -> dict[str, Any]:
    """Return what is left inside the rows of K and V that are read."""
    view, cache, reading = record.view, record.cache, record.reading
    batch, heads = view.query.shape[:2]
    rows = batch * heads
    channels = Lists.unknown(rows)
    width: Any = 0
    if cache.key_channels is not None:
        kept = _per_head(cache.key_channels, heads).reshape(rows, -1).numpy()
        numbers = np.broadcast_to(np.arange(kept.shape[1], dtype=np.int32), kept.shape)
        channels, width = Lists.of_mask(numbers, kept), kept.sum(1)
    delta: Any = 1.0
    if reading.delta is not None:
        delta = _per_head(reading.delta.float().mean((2, 3)), heads).reshape(rows).numpy()
    return {
        "key_channels": width,
        "channel_ids": channels,
        "key_rank": cache.key_rank,
        "value_rank": cache.value_rank,
        "key_density": _density(view.key, cache, cache.key_channels, heads),
        "value_density": _density(view.value, cache, None, heads),
        "delta_density": delta,
        "delta_window": reading.delta_window,
    }


def _density(x: Tensor, cache: LayerCache, channels: Tensor | None, heads: int) -> Array:
    """Return (batch * head,): elements that are not 0, among valid entries and kept channels."""
    import torch

    counted = torch.ones_like(x, dtype=torch.bool)
    if cache.valid is not None:
        counted &= cache.valid.unsqueeze(-1)
    if channels is not None:
        counted &= channels[:, :, None, :]
    share = ((x != 0) & counted).sum((2, 3)) / counted.sum((2, 3)).clamp_min(1)
    found: Array = _per_head(share, heads).reshape(-1).numpy()
    return found


def _per_head(x: Tensor, heads: int) -> Tensor:
    """Return (batch, head, ...) of (batch, group, ...)."""
    return x.repeat_interleave(heads // x.shape[1], 1)
