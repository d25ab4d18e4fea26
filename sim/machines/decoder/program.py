"""From a trace to the operators of a decoder machine, in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.machines.decoder.attention import (
    Attention,
    group_key,
    kv_beats,
    read_attention,
)
from sim.machines.decoder.design import Costs, Product, Stored
from sim.once import once
from workloads.errors import InputError
from workloads.packed import BEAT_BYTES
from workloads.trace import Trace

IntArray = np.ndarray[Any, np.dtype[np.int64]]

OPERATORS = (
    "query", "key", "value", "attention", "output", "router", "gate", "up", "down", "other", "head",
)  # fmt: skip
"""Order within a layer; an unknown operator is another one."""
QUERY, KEY, VALUE, ATTENTION, _, _, GATE, UP, _, _, HEAD = range(len(OPERATORS))

TENSORS = ("W", "head", "K", "V", "new KV")
"""What is moved: weights of the layers, of the output layer, the KV cache, what enters it."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Products of a trace, (rows,) each, ordered by layer of a step and by operator.

    Two are equal only if they are one.
    """

    key: IntArray
    place: IntArray  # in OPERATORS
    m: IntArray
    k: IntArray
    n: IntArray
    kind: IntArray  # index into `Work.kinds`
    matrix: IntArray  # number of the matrix, the same in every step


@dataclass(frozen=True)
class Work:
    """What was read from a trace."""

    rows: Rows
    products: tuple[Product, ...]  # kinds of matrices, as the trace offers them
    kinds: list[Stored]  # the same, as the machine stores them
    attention: Attention
    sizes: tuple[int, int]  # steps and layers, for `group_key`


def read_work(trace: Trace, costs: Costs) -> Work:
    """Read a trace's products and attention.

    Raises:
        InputError: nothing to run, a matrix that does not fit its format, or weights or a KV
            cache beyond the memory.
    """
    sizes = _sizes(trace)
    attention = read_attention(trace, costs.has_window, sizes)
    rows, products, names = _read_products(trace, sizes)
    kinds = [costs.stored(*product) for product in zip(products, names, strict=True)]
    if not len(attention) and not len(rows.key):
        raise InputError("a trace must have at least 1 row of attention or matmul, it has none")
    work = Work(rows, products, kinds, attention, sizes)
    _check_capacity(work, costs, trace.header.model.layers)
    return work


@once(kept=1)
def _sizes(trace: Trace) -> tuple[int, int]:
    """Return the numbers of steps and layers."""
    steps, layers = (
        1 + max(int(trace.array(table, name).max(initial=0)) for table in ("attention", "matmul"))
        for name in ("step", "layer")
    )
    return steps, layers


@once(kept=1)
def _read_products(
    trace: Trace, sizes: tuple[int, int]
) -> tuple[Rows, tuple[Product, ...], tuple[str, ...]]:
    """Return products, the kinds of their matrices, and what an error calls each kind."""
    column = {name: trace.array("matmul", name).astype(np.int64) for name in _COLUMNS}
    encoded = trace.tables["matmul"]["operator"].combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    operator = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    places = np.array([_place(word) for word in words] or [0], np.int64)[operator]
    key = group_key(column["sequence"], column["step"], column["layer"], sizes)
    order = np.lexsort((column["expert"], places, key))
    order = order[column["m_dense"][order] > 0]
    traits = pd.DataFrame({"operator": operator} | {name: column[name] for name in _TRAITS})
    numbers = traits.iloc[order].groupby(list(traits), sort=False).ngroup()
    kind: IntArray = numbers.to_numpy().astype(np.int64)
    firsts = order[np.unique(kind, return_index=True)[1]].tolist()
    experts = 2 + int(column["expert"].max(initial=0))
    matrix = (column["layer"] * max(len(words), 1) + operator) * experts + column["expert"]
    rows = Rows(
        key=key[order],
        place=places[order],
        m=column["m_dense"][order],
        k=column["k_dense"][order],
        n=column["n_dense"][order],
        kind=kind,
        matrix=matrix[order],
    )
    products = tuple(
        Product(words[operator[row]], *(int(column[name][row]) for name in _TRAITS))
        for row in firsts
    )
    names = tuple(f"layer {column['layer'][row]} {words[operator[row]]}" for row in firsts)
    return rows, products, names


_TRAITS = ("k_dense", "n_dense", "weight_bits", "pattern_n", "pattern_m")
_COLUMNS = ("sequence", "step", "layer", "expert", "m_dense", *_TRAITS)


def _place(operator: str) -> int:
    known = operator in OPERATORS and operator != "attention"
    return OPERATORS.index(operator if known else "other")


def _check_capacity(work: Work, costs: Costs, layers: int) -> None:
    design, rows, attention = costs.design, work.rows, work.attention
    beats = np.array([kind.beats for kind in work.kinds], np.int64)
    _, first = np.unique(rows.matrix, return_index=True)
    weights = int(beats[rows.kind[first]].sum()) * BEAT_BYTES if len(first) else 0
    held = design.weight_channels * design.channel_bytes
    if weights > held:
        raise InputError(
            f"weights must fit the {held:,} B of {design.weight_channels} pseudo-channels, "
            f"they have {weights:,} B"
        )
    if not len(attention):
        return
    tokens = np.where(
        attention.window > 0, np.minimum(attention.keys, attention.window), attention.keys
    )
    worst = int(np.argmax(tokens * attention.kv_heads))
    form = costs.forms.of(int(attention.bits[worst]))
    of_head = int(kv_beats(form, int(attention.head_dim[worst]), tokens[worst : worst + 1]).sum())
    heads = attention.kv_heads[worst : worst + 1] * layers
    lines = int(design.kv_lines(np.array([of_head]), heads)[0])
    cache = lines * design.kv_channels * BEAT_BYTES
    room = design.kv_channels * design.channel_bytes - (weights if design.shared else 0)
    if cache > room:
        raise InputError(
            f"KV cache of {int(tokens[worst])} tokens must fit the {room:,} B free in "
            f"{design.kv_channels} pseudo-channels, it has {cache:,} B"
        )
