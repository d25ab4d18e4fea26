"""Coupled groups: the weights that go when a neuron or a head goes.

A group is given as rows: each matrix of the group as (units, weights of the unit in that matrix).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Rows = tuple["Tensor", ...]  # each (units, n), n may differ


def neuron_rows(gate: Tensor | None, up: Tensor, down: Tensor) -> Rows:
    """Return the rows of the neurons: of gate and up (neurons, hidden), of down (hidden, neurons).

    `gate` is None where the feed-forward layer has no gate.
    """
    return (up, down.T) if gate is None else (gate, up, down.T)


def head_rows(query: Tensor, key: Tensor, value: Tensor, output: Tensor, heads: int) -> Rows:
    """Return the rows of the heads, each (heads, head_dim * hidden).

    A head's group holds the key and value head that it reads, so heads that share one share its
    weights.

    Args:
        query: (heads * head_dim, hidden).
        key: (kv_heads * head_dim, hidden).
        value: as key.
        output: (hidden, heads * head_dim).
        heads: query heads.

    Raises:
        InputError: the rows are no multiple of the heads, or the heads of the key heads.
    """
    if len(query) % heads or len(key) % (head_dim := len(query) // heads):
        raise InputError(
            f"rows of query and key must be whole heads of {heads}, not {len(query)} and {len(key)}"
        )
    kv_heads = len(key) // head_dim
    if heads % kv_heads:
        raise InputError(f"heads must be a multiple of the {kv_heads} key heads, not {heads}")
    shared = heads // kv_heads
    own = [x.reshape(heads, -1) for x in (query, output.T.contiguous())]
    read = [x.reshape(kv_heads, -1).repeat_interleave(shared, 0) for x in (key, value)]
    return (own[0], *read, own[1])
