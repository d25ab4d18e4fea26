"""Attention of a trace on a decoder machine: keys, beats and scores of each layer of each step.

A decode step reads its whole KV cache, the token's own K and V included, which are written first.
The cache holds what the window keeps, where the machine has one and the trace asks for it. In a
prefill attention is causal, banded by the window, and whole blocks of 64 keys are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from sim.machines.decoder.design import BLOCK_TOKENS, kv_block
from sim.once import once
from workloads.packed import KvFormat
from workloads.trace import Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]
BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Attention:
    """Layers of steps that have attention, (layers,) each, in the order of the trace.

    Two are equal only if they are one.
    """

    key: IntArray  # (sequence, step, layer) as one number, see `group_key`
    first: IntArray  # its first row of attention.parquet
    heads: IntArray
    kv_heads: IntArray
    head_dim: IntArray
    queries: IntArray
    keys: IntArray  # of the widest head, as the machine attends
    keys_dense: IntArray
    scores: IntArray  # keys summed over heads, of one query that sees all of them
    scores_offered: IntArray  # the same with the window that the trace offers
    scores_dense: IntArray
    kv_scores: IntArray  # keys summed over KV heads
    kv_scores_offered: IntArray
    kv_scores_dense: IntArray
    window: IntArray  # keys of a query at most in a prefill; 0: all before it
    sinks: IntArray  # of them the first tokens
    offered_window: IntArray  # the same as the trace offers it
    bits: IntArray  # of K and V in the trace, the wider

    def __len__(self) -> int:
        return len(self.key)


def group_key(sequence: IntArray, step: IntArray, layer: IntArray, sizes: tuple[int, int]) -> Any:
    """Return one number for each (sequence, step, layer); `sizes`: steps and layers."""
    return (sequence * sizes[0] + step) * sizes[1] + layer


@once(kept=4)
def read_attention(trace: Trace, window: bool, sizes: tuple[int, int]) -> Attention:
    """Sum up the heads of each layer. Only the window of sinks and recent tokens is exploited."""
    column = {name: trace.array("attention", name) for name in _COLUMNS}
    limited = has_window(trace) & column["alive"]
    sequence, step, layer = (
        column[name].astype(np.int64) for name in ("sequence", "step", "layer")
    )
    key = group_key(sequence, step, layer, sizes)
    starts = _starts(key)
    dense = column["keys_dense"].astype(np.int64)
    offered = np.where(limited & (column["queries_dense"] == 1), column["keys"], dense)
    keys = offered if window else dense
    kv_starts = _starts(key, column["kv_head"])
    kv_group = np.searchsorted(kv_starts, starts)
    kv_keys = np.maximum.reduceat(keys, kv_starts) if len(keys) else keys
    of_first = {name: column[name][starts].astype(np.int64) for name in column}
    band = np.where(limited[starts], of_first["sink_tokens"] + of_first["recent_tokens"], 0)
    k_bits, v_bits = of_first["k_bits"], of_first["v_bits"]
    return Attention(
        key=key[starts],
        first=starts,
        heads=np.diff(np.append(starts, len(key))),
        kv_heads=np.diff(np.append(kv_group, len(kv_starts))),
        head_dim=of_first["head_dim"],
        queries=of_first["queries_dense"],
        keys=_reduce(np.maximum, keys, starts),
        keys_dense=_reduce(np.maximum, dense, starts),
        scores=_reduce(np.add, keys, starts),
        scores_offered=_reduce(np.add, offered, starts),
        scores_dense=_reduce(np.add, dense, starts),
        kv_scores=_reduce(np.add, kv_keys, kv_group),
        kv_scores_offered=_reduce(
            np.add, np.maximum.reduceat(offered, kv_starts) if len(keys) else keys, kv_group
        ),
        kv_scores_dense=_reduce(np.add, dense[kv_starts], kv_group),
        window=band if window else np.zeros_like(band),
        sinks=of_first["sink_tokens"],
        offered_window=band,
        bits=np.maximum(k_bits + of_first["k_lsb_bits"], v_bits + of_first["v_lsb_bits"]),
    )


_COLUMNS = (
    "sequence", "step", "layer", "kv_head", "alive", "queries_dense", "keys_dense", "keys",
    "head_dim", "k_bits", "v_bits", "k_lsb_bits", "v_lsb_bits", "sink_tokens", "recent_tokens",
)  # fmt: skip


def has_window(trace: Trace) -> BoolArray:
    """Tell of each head whether its cache is limited to sinks and recent tokens."""
    policy = trace.tables["attention"]["kv_policy"]
    flags: BoolArray = pc.equal(policy, "sink_recent").to_numpy()
    return flags


def _starts(*columns: IntArray) -> IntArray:
    """Return where any of some columns changes, the first row included."""
    changes = np.zeros(len(columns[0]), np.bool_)
    changes[:1] = True
    for column in columns:
        changes[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(changes)


def _reduce(operation: Any, values: IntArray, starts: IntArray) -> IntArray:
    reduced: IntArray = operation.reduceat(values, starts) if len(starts) else values
    return reduced


def causal_scores(queries: IntArray, keys: IntArray, window: IntArray) -> IntArray:
    """Return the scores of one head: each query sees the keys up to its own, at most `window`.

    Args:
        queries: the last of `keys` tokens.
        keys: tokens there are.
        window: keys of a query at most; 0: no limit.
    """
    limit = np.where(window > 0, window, keys)
    before = keys - queries  # keys that the first query has besides its own
    rising = np.clip(limit - before, 0, queries)  # queries that see fewer than the limit
    rises = rising * before + rising * (rising + 1) // 2
    total: IntArray = rises + (queries - rising) * limit
    return total


class Band(NamedTuple):
    """A tile of queries of a prefill against its keys, in blocks of 64."""

    tokens: int
    blocks: int  # computed, its own included
    read: int  # of them from memory


def band_of(
    queries: int, keys: int, window: int, sinks: int, token_tile: int, tile: int
) -> Band | None:
    """Return a tile's keys; None: it has no queries. See `Attention` for the arguments."""
    start = tile * token_tile
    stop = min(start + token_tile, queries)
    if start >= stop:
        return None
    before = keys - queries
    first = before + start
    low = max(first - (window - sinks) + 1, 0) if window else 0
    own = first // BLOCK_TOKENS
    in_own = -(-(before + stop) // BLOCK_TOKENS) - own
    of_sinks = min(-(-sinks // BLOCK_TOKENS), low // BLOCK_TOKENS) if window else 0
    read = own - low // BLOCK_TOKENS + of_sinks
    return Band(stop - start, read + in_own, read)


@lru_cache
def tokens_read(queries: int, keys: int, window: int, sinks: int, token_tile: int) -> int:
    """Return the tokens whose K and V one head reads from memory in a prefill."""
    bands = (
        band_of(queries, keys, window, sinks, token_tile, tile)
        for tile in range(-(-queries // token_tile))
    )
    return sum(band.read * BLOCK_TOKENS for band in bands if band)


def kv_beats(form: KvFormat, channels: int, tokens: IntArray) -> IntArray:
    """Return (2, n) beats of K and V of one head with their metadata, in blocks of 64 tokens.

    The metadata of both is one piece; K has the odd beat.
    """
    sizes = _block_sizes(form, channels)
    full, rest = np.divmod(tokens, BLOCK_TOKENS)
    metadata, keys, values = full * sizes[-1][:, None] + sizes[rest].T
    beats: IntArray = np.stack([keys + (metadata + 1) // 2, values + metadata // 2])
    return beats


@lru_cache
def _block_sizes(form: KvFormat, channels: int) -> IntArray:
    """Return the beats (tokens, parts) of blocks of 0 to 64 tokens, read-only."""
    sizes = np.array([kv_block(form, channels, n) for n in range(BLOCK_TOKENS + 1)], np.int64)
    sizes.setflags(write=False)
    return sizes
