"""Sparsity that a trace offers a decoder machine, beside what the machine leaves out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sim.machines.decoder.attention import Attention, causal_scores, has_window, tokens_read
from sim.machines.decoder.design import Costs, IntArray, Product
from sim.machines.decoder.program import HEAD, Rows, Work
from sim.once import once
from sim.operations import sparsity_columns
from sim.summary import by_name
from workloads.trace import Trace

WINDOW, KV_PRECISION = "window", "KV precision"
PATTERN, PRECISION = "weight pattern", "weight precision"
KINDS = (WINDOW, KV_PRECISION, PATTERN, PRECISION)
"""Kinds of sparsity of a decoder's trace. `window`: keys outside sinks and recent tokens."""

DENSE_BITS = 8
"""Bits of a number of which nothing is known: the machines are A8 without compression."""


class Amounts(NamedTuple):
    """Of a whole run, unrounded. Bytes are of codes alone, without scales and indices."""

    multiplications: float
    weights: float  # bytes read
    head: float
    keys: float  # of K; those of V are as many
    new: float

    @property
    def bytes(self) -> float:
        """All of them."""
        return self.weights + self.head + 2 * self.keys + self.new


def amounts(work: Work, costs: Costs, kinds: frozenset[str], *, offered: bool) -> Amounts:
    """Return what a run takes when some kinds of sparsity are left out.

    Args:
        work: what was read from the trace.
        costs: the machine.
        kinds: of KINDS.
        offered: true: as the trace offers them; false: as the machine stores and computes them.
    """
    tile = costs.design.token_tile
    if offered:
        return _offered(work.rows, work.products, work.attention, tile, kinds)
    given, which = np.unique(work.attention.bits, return_inverse=True)
    forms = costs.forms
    kv_bits = np.array([forms.of(bits).bits for bits in given.tolist()], np.int64)[which]
    matrices = [(kind.share, kind.weight_bits) for kind in work.kinds]
    return _sum_up(work.rows, matrices, work.attention, kv_bits, tile, kinds)


@once(kept=32)
def _offered(
    rows: Rows, products: tuple[Product, ...], a: Attention, tile: int, kinds: frozenset[str]
) -> Amounts:
    """Return what a run takes when some kinds are left out as the trace offers them."""
    matrices = [
        (p.pattern_n / p.pattern_m if p.pattern_m else 1.0, min(p.weight_bits, DENSE_BITS))
        for p in products
    ]
    return _sum_up(rows, matrices, a, np.minimum(a.bits, DENSE_BITS), tile, kinds)


def _sum_up(
    rows: Rows,
    matrices: list[tuple[float, int]],
    a: Attention,
    kv_bits: IntArray,
    tile: int,
    kinds: frozenset[str],
) -> Amounts:
    """Return what a run takes.

    Args:
        rows: products.
        matrices: share that is stored, and bits of a weight, by kind of matrix.
        a: attention.
        kv_bits: of K and V, by layer with attention.
        tile: tokens that share a weight.
        kinds: that are left out.
    """
    shares = np.array([share for share, _ in matrices] or [1.0])
    bits = np.array([width for _, width in matrices] or [1])
    share = shares[rows.kind] if PATTERN in kinds else np.ones(len(rows.kind))
    width = bits[rows.kind] if PRECISION in kinds else np.full(len(rows.kind), DENSE_BITS)
    kept = rows.k * rows.n * share
    read = kept * width / 8 * np.where(rows.m > 1, -(-rows.m // tile), 1)
    head = rows.place == HEAD
    kv = kv_bits if KV_PRECISION in kinds else np.full(len(a), DENSE_BITS)
    windowed = WINDOW in kinds
    limit = a.offered_window if windowed else np.zeros_like(a.keys)
    one = a.queries == 1
    decode = (a.scores_offered, a.kv_scores_offered) if windowed else (
        a.scores_dense, a.kv_scores_dense
    )  # fmt: skip
    scores = np.where(one, decode[0], causal_scores(a.queries, a.keys_dense, limit) * a.heads)
    tokens = decode[1].copy()
    for at in np.flatnonzero(~one).tolist():
        shape = (a.queries, a.keys_dense, limit, a.sinks)
        tokens[at] = tokens_read(*(int(x[at]) for x in shape), tile) * a.kv_heads[at]
    return Amounts(
        multiplications=float((rows.m * kept).sum() + (2 * scores * a.head_dim).sum()),
        weights=float(read[~head].sum()),
        head=float(read[head].sum()),
        keys=float((tokens * a.head_dim * kv).sum() / 8),
        new=float((2 * a.queries * a.kv_heads * a.head_dim * kv).sum() / 8),
    )


def offers_columns(
    trace: Trace, work: Work, costs: Costs, exploits: frozenset[str]
) -> dict[str, Any]:
    """Return the columns of offered and exploited sparsity: see `TABLE_COLUMNS["sparsity"]`.

    Kinds are counted one after another, those that the machine exploits first. Kinds of attention
    that it cannot exploit at all follow, as far as the trace has them.
    """
    order = sorted(KINDS, key=lambda kind: (kind not in exploits, KINDS.index(kind)))
    dense = amounts(work, costs, frozenset(), offered=True)
    rows: list[tuple[Any, ...]] = []
    before, machine_before = dense, dense
    climbed: list[str] = []
    for kind in order:
        climbed.append(kind)
        after = amounts(work, costs, frozenset(climbed), offered=True)
        own = frozenset(climbed) & exploits
        machine = amounts(work, costs, own, offered=False)
        for quantity in ("multiplications", "DRAM bytes"):
            whole, had, has, machine_had, machine_has = (
                round(found.multiplications if quantity == "multiplications" else found.bytes)
                for found in (dense, before, after, machine_before, machine)
            )
            rows.append((kind, quantity, whole, had - has, machine_had - machine_has))
        before, machine_before = after, machine
    whole_of = {quantity: whole for _, quantity, whole, _, _ in rows}
    rows += [
        (kind, quantity, whole_of[quantity], offered, 0)
        for kind, quantity, offered in _others(trace)
    ]
    return by_name(("kind", "quantity", "dense", "offered", "exploited"), rows)


@once(kept=1)
def _others(trace: Trace) -> tuple[tuple[str, str, int], ...]:
    """Return kind, quantity and amount of what rows without a window offer `sim.operations`."""
    table = trace.tables["attention"]
    windowed = has_window(trace)
    fields = (
        *("alive", "queries", "queries_dense", "keys", "keys_dense", "values", "key_channels"),
        *("value_channels", "block_keys", "delta_density", "key_density", "value_density"),
    )
    c = {name: trace.array("attention", name) for name in fields}
    pruned = ~c["alive"] | (c["queries"] < c["queries_dense"]) | (c["values"] < c["keys"])
    pruned |= (c["key_channels"] > 0) | (c["value_channels"] > 0) | (c["block_keys"] > 0)
    for name in ("delta_density", "key_density", "value_density"):
        pruned |= c[name] < 1
    pruned |= (c["keys"] < c["keys_dense"]) & ~windowed
    if not pruned.any():
        return ()
    kept = Trace(trace.header, trace.tables | {"attention": table.filter(pa.array(~windowed))})
    columns = sparsity_columns(kept, frozenset(), DENSE_BITS)
    offers = zip(columns["kind"], columns["quantity"], columns["offered"], strict=True)
    return tuple(offer for offer in offers if offer[0] != "precision")
