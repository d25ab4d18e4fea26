"""Lowering of matrix products."""

import numpy as np
import pytest

from sim.operations import KINDS, lower
from sim.products import lower_products
from workloads.errors import InputError
from workloads.trace import TraceBuilder


def of_trace(trace, name):
    return trace.array("matmul", name).astype(np.int64)


def test_all_products_run_once_in_the_order_of_their_layers(pruned_trace):
    products = lower_products(pruned_trace, lower(pruned_trace, KINDS, 12), KINDS)
    work = of_trace(pruned_trace, "m") * of_trace(pruned_trace, "k") * of_trace(pruned_trace, "n")
    assert len(products) == pruned_trace.rows("matmul")
    assert products.multiplications.sum() == work.sum()
    assert (np.diff(products.slot) >= 0).all()
    assert set(products.slot - products.group) == {0, 1}
    groups = 2 * 4 * 3  # inputs, steps, layers
    assert products.slot.max() == groups
    first = products.slot == 1  # output, up, down of the first layer; query, key, value of the next
    assert products.group[first].tolist() == [0, 0, 0, 1, 1, 1]
    between_steps = products.slot == 3  # behind the last layer, before the first of the next token
    assert products.group[between_steps].tolist() == [2, 2, 2, 3, 3, 3]
    assert products.depends[first].tolist() == [True] * 4 + [False, False]


def test_without_pruning_they_are_dense(pruned_trace):
    products = lower_products(pruned_trace, lower(pruned_trace, (), 12), ())
    assert products.multiplications.sum() == products.multiplications_dense
    pruned = lower_products(pruned_trace, lower(pruned_trace, KINDS, 12), KINDS)
    assert pruned.multiplications_dense == products.multiplications_dense
    assert pruned.multiplications.sum() < products.multiplications.sum()


def test_every_step_uses_the_same_weights(pruned_trace):
    products = lower_products(pruned_trace, lower(pruned_trace, KINDS, 12), KINDS)
    assert len(products.weight_sizes) == 3 * 6
    assert np.bincount(products.weights).tolist() == [2 * 4] * 18
    assert products.weight_sizes.sum() == 3 * (4 * 128 * 128 + 2 * 128 * 512)


def test_a_trace_without_products_is_refused(dense_trace):
    builder = TraceBuilder()
    for table in ("sequences", "attention"):
        builder.add(table, dense_trace.rows(table), **dense_trace.tables[table].to_pydict())
    trace = builder.finish(dense_trace.header)
    with pytest.raises(InputError, match=r"^matmul.parquet must have at least 1 row to run its"):
        lower_products(trace, lower(trace, KINDS, 12), KINDS)
