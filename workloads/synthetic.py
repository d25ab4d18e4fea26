"""Traces from ratios instead of a model: the papers' shapes, where weights cannot be had.

Counts follow the ratios; identities are seeded random choices, nested from layer to layer as
cascade pruning has them. Every trace made here says that it is synthetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.errors import InputError
from workloads.shapes import ModelShape
from workloads.trace import Ragged, Trace, TraceBuilder, TraceHeader

IntArray = np.ndarray[Any, np.dtype[np.int64]]
IdArray = np.ndarray[Any, np.dtype[np.int32]]

_BITS = 12  # on-chip width of SpAtten: queries, and keys and values unless told otherwise
_NOTES = (
    "Synthetic: the ratios were given, not measured on a model; which tokens, heads and queries "
    "they hit is seeded random. Queries of a head choose their values independently, so the "
    "number of distinct V rows is its expectation. Selector scores are not known."
)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is kept, by layer and head."""

    shape: ModelShape
    tokens: int
    token_keep: list[float]  # (layers,) share of the tokens so far that enter each layer
    heads_alive: Any  # (layers, heads) bool
    value_keep: float
    requant_share: float
    k_bits: int
    k_lsb_bits: int
    v_bits: int


def shape_trace(
    shape: ModelShape,
    tokens: int,
    *,
    token_keep: Sequence[float] | None = None,
    head_keep: Sequence[float] | None = None,
    value_keep: float = 1.0,
    requant_share: float = 0.0,
    k_bits: int = _BITS,
    k_lsb_bits: int = 0,
    v_bits: int = _BITS,
    generate: int = 0,
    prefill: bool = True,
    seed: int = 0,
    sequences: int = 1,
) -> Trace:
    """Return a trace of a prefill and some generated tokens, pruned by ratios.

    Args:
        shape: the model.
        tokens: of the prompt; in the prefill they are queries and keys.
        token_keep: (layers,) share of all tokens so far that enters each layer; None: all. Each
            generated token starts again from the first layer's share, as SpAtten's traces do.
        head_keep: (layers,) share of the heads that a layer computes; None: all.
        value_keep: share of a head's keys whose V rows one query uses.
        requant_share: share of the queries that are recomputed with LSBs.
        k_bits, k_lsb_bits, v_bits: bits of K fetched first, of K on demand, and of V.
        generate: tokens generated after the prefill, one query each.
        prefill: false: only the generated tokens, as SpAtten's traces have them.
        seed: of every random choice.
        sequences: inputs, alike in counts and different in choices.

    Raises:
        InputError: a share outside (0, 1] (named by layer), a share that grows from layer to
            layer, another number of shares than layers, or LSB recomputation without LSBs.
    """
    _check_counts(tokens, generate, sequences)
    if not prefill and not generate:
        raise InputError("generate must be at least 1 without a prefill, not 0")
    _check_share("value_keep", value_keep)
    if not 0 <= requant_share <= 1:
        raise InputError(f"requant_share must be from 0 to 1, not {requant_share:g}")
    if requant_share and not k_lsb_bits:
        raise InputError(f"k_lsb_bits must be at least 1 for requant_share {requant_share:g}")
    shares = _layer_shares("token_keep", token_keep, shape.layers)
    head_shares = _layer_shares("head_keep", head_keep, shape.layers)
    builder = TraceBuilder()
    for sequence in range(sequences):
        random = np.random.default_rng([seed, sequence])
        plan = _Plan(
            shape=shape,
            tokens=tokens,
            token_keep=shares,
            heads_alive=_nested_heads(head_shares, shape.heads, random),
            value_keep=value_keep,
            requant_share=requant_share,
            k_bits=k_bits,
            k_lsb_bits=k_lsb_bits,
            v_bits=v_bits,
        )
        _add_sequence(builder, plan, sequence, range(0 if prefill else 1, generate + 1), random)
    given = {
        "tokens": tokens,
        "token_keep": shares,
        "head_keep": head_shares,
        "value_keep": value_keep,
        "requant_share": requant_share,
        "k_bits": k_bits,
        "k_lsb_bits": k_lsb_bits,
        "v_bits": v_bits,
        "generate": generate,
        "prefill": prefill,
        "sequences": sequences,
    }
    return builder.finish(
        TraceHeader(
            workload=f"{shape.name}-{tokens}",
            model=shape,
            method="ratios",
            parameters=given,
            seed=seed,
            accuracy={},
            synthetic=True,
            notes=_NOTES,
        )
    )


def _check_counts(tokens: int, generate: int, sequences: int) -> None:
    for name, value, least in (
        ("tokens", tokens, 1),
        ("generate", generate, 0),
        ("sequences", sequences, 1),
    ):
        if value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")


def _check_share(what: str, share: float) -> None:
    if not 0 < share <= 1:
        raise InputError(f"{what} must be above 0 and at most 1, not {share:g}")


def _layer_shares(name: str, given: Sequence[float] | None, layers: int) -> list[float]:
    shares = [1.0] * layers if given is None else [float(share) for share in given]
    if len(shares) != layers:
        raise InputError(f"{name} must have {layers} entries, one a layer, not {len(shares)}")
    for layer, share in enumerate(shares):
        _check_share(f"{name} of layer {layer}", share)
        if layer and share > shares[layer - 1]:
            raise InputError(
                f"{name} of layer {layer} must be at most that of the layer before "
                f"({shares[layer - 1]:g}), not {share:g}: what was pruned stays pruned"
            )
    return shares


def _kept(share: Any, count: Any) -> IntArray:
    """Return floor(share x count), at least 1, as the released SpAtten traces round."""
    kept: IntArray = np.floor(np.asarray(share) * count + 1e-9).astype(np.int64)
    return np.maximum(kept, 1)


def _nested_heads(shares: list[float], heads: int, random: np.random.Generator) -> Any:
    rank = random.permutation(heads)
    return rank[None, :] < _kept(shares, heads)[:, None]


def _add_sequence(
    builder: TraceBuilder, plan: _Plan, sequence: int, steps: range, random: np.random.Generator
) -> None:
    generate = steps[-1]
    builder.add(
        "sequences",
        1,
        sequence=sequence,
        tokens_dense=plan.tokens,
        tokens=plan.tokens,
        generated_tokens=generate,
    )
    order = random.permutation(plan.tokens + generate)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))  # smaller = kept longer
    before = None
    for step in steps:
        context = plan.tokens + step
        alive = _kept(plan.token_keep, context)
        here = {"sequence": sequence, "step": step}
        ids = _nested_ids(rank[:context], alive, newest=step > 0)
        handed_on = context if before is None else before + 1
        queries = np.ones_like(alive) if step else alive
        _add_attention(builder, plan, here, context, queries, ids, handed_on, random)
        _add_matmul(builder, plan, here, queries, 1 if step else context)
        _add_tokens(builder, here, context, ids, max(int(alive[0]) - handed_on, 0))
        follow = _kept(plan.token_keep[0], context + 1) - 1 if step < generate else None
        _add_selections(builder, plan, here, context, alive, queries, follow)
        before = int(alive[-1])


def _nested_ids(rank: IntArray, alive: IntArray, newest: bool) -> list[IdArray]:
    """Return for each layer the `alive` tokens of best rank, ascending; subsets of one another.

    The newest token, whose query is being computed, is always among them.
    """
    order = np.argsort(rank)
    if newest:
        last = len(rank) - 1
        order = np.concatenate([[last], order[order != last]])
    return [np.sort(order[:count]).astype(np.int32) for count in alive]


def _add_attention(
    builder: TraceBuilder,
    plan: _Plan,
    here: dict[str, int],
    context: int,
    queries: IntArray,
    ids: list[IdArray],
    handed_on: int,
    random: np.random.Generator,
) -> None:
    shape = plan.shape
    runs = plan.heads_alive.reshape(-1)
    keys = _per_head(np.array([len(kept) for kept in ids]), plan)
    asked = _per_head(queries, plan)
    values = np.minimum(_kept(plan.value_keep, keys), keys) * runs
    recomputed = _recomputed(plan, asked, random)
    revived = np.maximum(keys - handed_on, 0) * runs
    builder.add(
        "attention",
        len(runs),
        **here,
        layer=np.repeat(np.arange(shape.layers), shape.heads),
        head=np.tile(np.arange(shape.heads), shape.layers),
        kv_head=np.tile(np.arange(shape.heads) * shape.kv_heads // shape.heads, shape.layers),
        alive=runs,
        queries_dense=1 if here["step"] else context,
        queries=asked,
        keys_dense=context,
        keys=keys,
        values=values,
        values_fetched=_distinct(keys, values, asked),
        head_dim=shape.head_dim,
        q_bits=_BITS,
        k_bits=plan.k_bits,
        v_bits=plan.v_bits,
        k_lsb_bits=plan.k_lsb_bits,
        recomputed=recomputed.lengths,
        kv_policy=np.where(revived > 0, "revive", "full"),
        keys_revived=revived,
        key_ids=[ids[i // shape.heads] if run else ids[0][:0] for i, run in enumerate(runs)],
        recomputed_queries=recomputed,
    )


def _per_head(counts: IntArray, plan: _Plan) -> IntArray:
    """Return (layers x heads,) the count of each layer for its alive heads, else 0."""
    spread: IntArray = (counts[:, None] * plan.heads_alive).reshape(-1)
    return spread


def _distinct(keys: IntArray, values: IntArray, queries: IntArray) -> IntArray:
    """Return the expected distinct V rows when each query uses `values` of `keys` at random."""
    unused = (1 - values / np.maximum(keys, 1)) ** queries
    expected: IntArray = np.rint(keys * (1 - unused)).astype(np.int64)
    return np.clip(expected, values, keys)


def _recomputed(plan: _Plan, queries: IntArray, random: np.random.Generator) -> Ragged:
    total = int(queries.sum())
    hit = random.random(total) < plan.requant_share
    starts = np.cumsum(queries) - queries
    ordinal = np.arange(total) - np.repeat(starts, queries)
    offsets = np.concatenate([[0], np.cumsum(hit)])[np.append(starts, total)]
    return Ragged(ordinal[hit], offsets, np.ones(len(queries), np.bool_))


def _add_matmul(
    builder: TraceBuilder, plan: _Plan, here: dict[str, int], rows: IntArray, rows_dense: int
) -> None:
    """Add the products of each layer; pruned heads shrink the projections around attention."""
    shape = plan.shape
    group = shape.heads // shape.kv_heads
    served = plan.heads_alive.reshape(shape.layers, shape.kv_heads, group).any(axis=2)
    q_width = plan.heads_alive.sum(axis=1) * shape.head_dim
    kv_width = served.sum(axis=1) * shape.head_dim
    q_dense, kv_dense = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    hidden, wide = shape.hidden, shape.intermediate
    products: list[tuple[str, int, int, Any, Any]] = [
        ("query", hidden, q_dense, hidden, q_width),
        ("key", hidden, kv_dense, hidden, kv_width),
        ("value", hidden, kv_dense, hidden, kv_width),
        ("output", q_dense, hidden, q_width, hidden),
        ("up", hidden, wide, hidden, wide),
        ("down", wide, hidden, wide, hidden),
    ]
    if shape.gated:
        products.append(("gate", hidden, wide, hidden, wide))
    for operator, k_dense, n_dense, k, n in products:
        builder.add(
            "matmul",
            shape.layers,
            **here,
            layer=np.arange(shape.layers),
            operator=operator,
            m_dense=rows_dense,
            k_dense=k_dense,
            n_dense=n_dense,
            m=rows,
            k=k,
            n=n,
        )


def _add_tokens(
    builder: TraceBuilder, here: dict[str, int], context: int, ids: list[IdArray], revived: int
) -> None:
    builder.add(
        "tokens",
        len(ids),
        **here,
        layer=np.arange(len(ids)),
        tokens_dense=context,
        alive=[len(kept) for kept in ids],
        revived=[revived] + [0] * (len(ids) - 1),
        token_ids=ids,
    )


def _add_selections(
    builder: TraceBuilder,
    plan: _Plan,
    here: dict[str, int],
    context: int,
    alive: IntArray,
    queries: IntArray,
    follow: Any,
) -> None:
    """Add the selections after each layer; `follow` tokens start the next generated token."""
    heads = plan.heads_alive.sum(axis=1)
    _add_cascade(builder, here, "token", alive)
    _add_cascade(builder, here, "head", heads)
    if follow is not None and 0 < follow < context:
        builder.add("topk", 1, **here, layer=len(alive) - 1, kind="token", operations=1, n=context,
                    k=int(follow))  # fmt: skip
    values = _kept(plan.value_keep, alive)
    layer, head = np.nonzero(plan.heads_alive & (values < alive)[:, None])
    builder.add(
        "topk",
        len(layer),
        **here,
        layer=layer,
        kind="value",
        head=head,
        operations=queries[layer],
        n=alive[layer],
        k=values[layer],
    )


def _add_cascade(builder: TraceBuilder, here: dict[str, int], kind: str, kept: IntArray) -> None:
    layers = np.flatnonzero(kept[1:] < kept[:-1])
    builder.add(
        "topk",
        len(layers),
        **here,
        layer=layers,
        kind=kind,
        operations=1,
        n=kept[layers],
        k=kept[layers + 1],
    )
