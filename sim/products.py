"""Lowering of matrix products with weights: what a machine that runs them really does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.once import once
from sim.operations import Operations
from workloads.errors import InputError
from workloads.trace import Trace

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

BEFORE_ATTENTION = ("query", "key", "value")
"""Operators whose results the attention of their layer needs; all others follow it."""

_WITH_THE_ONE_BEFORE = ("key", "value", "gate")
"""Operators that have the same input as the one listed before them."""


@dataclass(frozen=True)
class Products:
    """Products to run, (m, k) activations times (k, n) weights, in the order they run.

    All arrays are (products,). Product i runs in slot `slot[i]`: slot g stands before the
    attention of group g, the last slot behind that of the last group.
    """

    rows: IntArray  # of matmul.parquet
    slot: IntArray
    group: IntArray  # group of `Operations` whose layer it belongs to
    weights: IntArray  # number of its weight matrix, the same in every step and input
    depends: BoolArray  # true: needs the results of the product before it
    m: IntArray
    k: IntArray
    n: IntArray
    multiplications_dense: int
    weights_dense: int  # elements of the weights of all products, unpruned
    inputs_dense: int  # and of their activations
    weight_sizes: IntArray  # (matrices,) elements of each weight matrix, unpruned

    def __len__(self) -> int:
        return len(self.slot)

    @property
    def multiplications(self) -> IntArray:
        """Multiplications of each product."""
        total: IntArray = self.m * self.k * self.n
        return total


def lower_products(trace: Trace, operations: Operations, exploits: Collection[str]) -> Products:
    """Return the products of a trace; without token or head pruning they are unpruned.

    Weights count as dense whatever their pattern. A layer none of whose heads run goes with the
    next one that has some.

    Raises:
        InputError: a trace without products.
    """
    return _lower_products(trace, operations, frozenset(exploits))


@once(kept=8)
def _lower_products(trace: Trace, operations: Operations, exploits: frozenset[str]) -> Products:
    names = ("sequence", "step", "layer", "expert", "m_dense", "k_dense", "n_dense", "m", "k", "n")
    column = {name: trace.array("matmul", name).astype(np.int64) for name in names}
    if not len(column["layer"]):
        raise InputError("matmul.parquet must have at least 1 row to run its layers, it has 0")
    for name, kind in (("m", "token"), ("k", "head"), ("n", "head")):
        if kind not in exploits:
            column[name] = column[f"{name}_dense"]
    operator = trace.array("matmul", "operator")
    group = _group_of(column, operations)
    slot = group + ~np.isin(operator, BEFORE_ATTENTION)
    matrices, sizes = _matrices(column, operator)
    runs = ~trace.array("matmul", "skipped") & (column["m"] * column["k"] * column["n"] > 0)
    place = _place(operator)
    order = np.lexsort((place, group, slot))
    order = order[runs[order]]
    weights_dense = column["k_dense"] * column["n_dense"]
    return Products(
        rows=order,
        slot=slot[order],
        group=group[order],
        weights=matrices[order],
        depends=~np.isin(operator, _WITH_THE_ONE_BEFORE)[order],
        m=column["m"][order],
        k=column["k"][order],
        n=column["n"][order],
        multiplications_dense=int((column["m_dense"] * weights_dense).sum()),
        weights_dense=int(weights_dense.sum()),
        inputs_dense=int((column["m_dense"] * column["k_dense"]).sum()),
        weight_sizes=sizes,
    )


def _group_of(column: dict[str, IntArray], operations: Operations) -> IntArray:
    ops = operations
    steps, layers = (
        1 + max(int(column[name].max()), int(getattr(ops, name).max()))
        for name in ("step", "layer")
    )
    first = np.searchsorted(ops.group, np.arange(int(ops.group[-1]) + 1))
    keys = (ops.sequence * steps + ops.step) * layers + ops.layer
    own = (column["sequence"] * steps + column["step"]) * layers + column["layer"]
    found: IntArray = np.minimum(np.searchsorted(keys[first], own), len(first) - 1)
    return found


def _matrices(column: dict[str, IntArray], operator: Any) -> tuple[IntArray, IntArray]:
    """Number the weight matrices by (layer, operator, expert); return their sizes too."""
    _, name = np.unique(operator, return_inverse=True)
    keys = np.stack([column["layer"], name, column["expert"]])
    _, first, number = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    return number.reshape(-1), (column["k_dense"] * column["n_dense"])[first]


def _place(operator: Any) -> IntArray:
    """Return where each operator stands in its layer; unknown ones go last."""
    order = ("query", "key", "value", "output", "router", "up", "gate", "down")
    place = {name: position for position, name in enumerate(order)}
    return np.array([place.get(name, len(order)) for name in operator.tolist()], np.int64)
