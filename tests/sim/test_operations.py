"""Lowering: what a machine runs, and what it leaves lying."""

import numpy as np
import pytest

from sim.operations import (
    KINDS,
    VALUE_GENERATION,
    VALUE_PREFILL,
    lower,
    multiplications,
    plane_bytes,
    sparsity_table,
)
from workloads.errors import InputError
from workloads.trace import TraceBuilder


def test_everything_exploited_is_what_the_trace_says(pruned_trace):
    ops = lower(pruned_trace, KINDS, 12)
    alive = pruned_trace.array("attention", "alive")
    for name in ("queries", "keys", "values", "values_fetched", "k_bits", "recomputed"):
        expected = pruned_trace.array("attention", name)[alive]
        assert getattr(ops, name).tolist() == expected.tolist(), name


def test_nothing_exploited_is_the_unpruned_model(pruned_trace):
    ops = lower(pruned_trace, (), 12)
    assert len(ops) == pruned_trace.rows("attention")
    assert ops.keys.tolist() == pruned_trace.array("attention", "keys_dense").tolist()
    assert ops.values.tolist() == ops.keys.tolist()
    assert set(ops.k_bits) == set(ops.v_bits) == {12}
    assert ops.recomputed.sum() == 0


def test_a_pruned_head_that_must_run_takes_its_layers_tokens(pruned_trace):
    ops = lower(pruned_trace, ("token",), 12)
    rows = ops.rows[~pruned_trace.array("attention", "alive")[ops.rows]]
    assert len(rows)
    for row in rows.tolist():
        same = (ops.group == ops.group[ops.rows == row]) & (ops.rows != row)
        assert ops.keys[ops.rows == row] == ops.keys[same].max()


def test_value_pruning_is_told_apart_by_phase(pruned_trace):
    prefill = lower(pruned_trace, ("token", VALUE_PREFILL), 12)
    generation = lower(pruned_trace, ("token", VALUE_GENERATION), 12)
    assert (prefill.values < prefill.keys)[prefill.step == 0].any()
    assert (prefill.values == prefill.keys)[prefill.step > 0].all()
    assert (generation.values == generation.keys)[generation.step == 0].all()
    assert (generation.values < generation.keys)[generation.step > 0].any()


def test_values_keep_their_share_where_tokens_cannot_be_left_out(pruned_trace):
    ops = lower(pruned_trace, (VALUE_GENERATION,), 12)
    late = ops.step > 0
    alive = pruned_trace.array("attention", "alive")[ops.rows]
    shares = pruned_trace.array("attention", "values") / np.maximum(
        pruned_trace.array("attention", "keys"), 1
    )
    short = (ops.keys * shares[ops.rows] - ops.values)[late & alive]
    assert (short <= 1e-9).all()  # rounded up
    assert (short > -1).all()
    assert (short < -1e-9).any()
    assert (ops.values == ops.keys)[~alive].all()


@pytest.mark.parametrize("exploits", [KINDS, ("head", "token", "precision"), ()])
def test_the_ladder_adds_up(pruned_trace, exploits):
    """Offered amounts add up to all that the trace leaves out, exploited to the machine's."""
    table = sparsity_table(pruned_trace, exploits, 12).set_index(["quantity", "kind"])
    for quantity, amount in (("multiplications", _products), ("DRAM bytes", _bytes)):
        rows = table.loc[quantity]
        dense = amount(lower(pruned_trace, (), 12))
        assert rows["dense"].unique().tolist() == [dense]
        assert dense - rows["offered"].sum() == amount(lower(pruned_trace, KINDS, 12))
        assert dense - rows["exploited"].sum() == amount(lower(pruned_trace, exploits, 12))


def test_offered_is_exploited_or_wasted(pruned_trace):
    table = sparsity_table(pruned_trace, ("token",), 12)
    exploited = table["exploited"] == table["offered"]
    assert exploited[table["kind"] == "token"].all()
    assert (table["exploited"][table["kind"] != "token"] == 0).all()


def test_an_unknown_kind_is_refused(dense_trace):
    with pytest.raises(InputError, match=r"^a machine exploits kinds of head, .*, not \['luck'\]$"):
        lower(dense_trace, ("luck",), 12)


def test_an_empty_trace_is_refused(dense_trace):
    empty = TraceBuilder().finish(dense_trace.header)
    with pytest.raises(InputError, match=r"^attention.parquet must have at least 1 row"):
        lower(empty, KINDS, 12)


@pytest.mark.parametrize("name", ["keys", "values"])
def test_a_running_head_without_keys_or_values_is_refused(dense_trace, name):
    counts = {"keys": 4, "values": 4, "values_fetched": 4} | {name: 0}
    if name == "keys":
        counts = dict.fromkeys(counts, 0)
    builder = TraceBuilder()
    builder.add("sequences", 1, sequence=0, tokens_dense=4, tokens=4)
    builder.add(
        "attention", 1, sequence=0, step=0, layer=0, head=0, kv_head=0, queries_dense=4,
        queries=4, keys_dense=4, head_dim=8, q_bits=8, k_bits=8, v_bits=8, **counts,
    )  # fmt: skip
    with pytest.raises(InputError, match=rf"row 0: {name} must be at least 1 for a head that"):
        lower(builder.finish(dense_trace.header), KINDS, 12)


def test_plane_bytes_round_up():
    assert plane_bytes(np.array([1, 3]), np.array([5, 8]), np.array([3, 12])).tolist() == [2, 36]


def _products(ops):
    return int(multiplications(ops).sum())


def _bytes(ops):
    lsb_bits = np.where(ops.recomputed > 0, ops.k_lsb_bits, 0)
    parts = (
        (ops.queries, ops.q_bits),
        (ops.keys, ops.k_bits),
        (ops.keys, lsb_bits),
        (ops.values_fetched, ops.v_bits),
    )
    return sum(int(plane_bytes(rows, ops.head_dim, bits).sum()) for rows, bits in parts)


def test_a_scoring_pass_is_read_by_channels_or_as_whole_keys(dense_trace):
    builder = TraceBuilder()
    builder.add("sequences", 1, sequence=0, tokens_dense=40, tokens=40, generated_tokens=1)
    builder.add(
        "attention", 1, sequence=0, step=1, layer=0, head=0, kv_head=0, queries_dense=1, queries=1,
        keys_dense=41, keys=10, values=10, values_fetched=10, head_dim=32, q_bits=12, k_bits=12,
        v_bits=12, scored_keys=41, scored_channels=8,
    )  # fmt: skip
    trace = builder.finish(dense_trace.header)
    whole = lower(trace, ("token", VALUE_GENERATION), 12)
    assert (whole.keys.tolist(), whole.values_fetched.tolist()) == ([41], [10])
    assert lower(trace, ("token",), 12).values_fetched.tolist() == [41]
    table = sparsity_table(trace, KINDS, 12).set_index(["quantity", "kind"])["offered"]
    left = table["DRAM bytes"].sum()
    dense = (1 + 41 + 41) * 32 * 12 // 8
    k_read = 41 * 48 * (41 * 8 / 32 + 10) / 41  # 8 of 32 channels of all keys, then 10 keys whole
    assert left == dense - round(48 + k_read + 10 * 48)
