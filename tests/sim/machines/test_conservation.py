"""Laws that hold for any trace on any machine."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.machines import MACHINES, make_machine
from sim.machines.base import Machine
from sim.machines.rows import RowMachine
from sim.machines.spatten_fc import cut
from sim.operations import lower, multiplications, plane_bytes
from sim.products import lower_products
from sim.run import simulate

COMPOSED = [name for name, kind in MACHINES.items() if issubclass(kind, Machine)]
"""The released RTL rounds its counts up: its own test keeps its books."""

MODES = [(name, {}) for name in COMPOSED] + [
    ("spatten", {"prefill_value_pruning": "true"}),
    ("spatten", {"flow.layers_wait": "false", "flow.cascade_topk": "hidden"}),
    ("spatten", {"flow.layers_wait": "false", "flow.hold_keys": "true"}),
    ("spatten", {"flow.prefetch_keys": "false", "flow.cascade_topk": "serial"}),
    ("spatten", {"precision.wide_operands": "8+4", "prune_queries": "false"}),
    ("spatten", {"prefill_value_pruning": "true", "value_selection": "pair"}),
    ("spatten", {"precision.lsb_tensors": "QKV", "flow.reset_cycles": "144"}),
    ("spatten-e2e", {"fc.weight_bits": "12", "key_buffer.rows": "256"}),
]

shares = st.sampled_from([1.0, 0.75, 0.5, 0.2])
traces = st.fixed_dictionaries(
    {
        "tokens": st.integers(1, 70),
        "sequences": st.integers(1, 3),
        "generate": st.integers(0, 3),
        "value_keep": shares,
        "requant_share": shares.map(lambda share: 1.0 - share),
        "token_keep": shares.map(lambda share: [1.0, share, share]),
        "head_keep": shares.map(lambda share: [1.0, 1.0, share]),
        "k_bits": st.sampled_from([4, 6, 8]),
        "k_lsb_bits": st.just(4),
        "v_bits": st.sampled_from([4, 8, 12]),
        "seed": st.integers(0, 9),
    }
)


@pytest.mark.parametrize(("name", "changes"), MODES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(traces)
def test_laws(make_trace, name, changes, case):
    machine = make_machine(name, changes)
    trace = make_trace(**case)
    ops = machine.adapt(lower(trace, machine.exploits, machine.width_bits))
    result = simulate(trace, machine)
    row, tables = result.row, result.tables

    lsb_bits = np.where(ops.recomputed > 0, ops.k_lsb_bits, 0)
    asked = {
        ("Q", "MSB"): (ops.queries, ops.q_bits),
        ("K", "MSB"): (ops.keys, ops.k_bits),
        ("K", "LSB"): (ops.keys, lsb_bits),
        ("V", "MSB"): (ops.values_fetched, ops.v_bits),
    }
    fc_work = 0
    if name == "spatten-e2e":
        products = lower_products(trace, ops, machine.exploits)
        fc_work = int(products.multiplications.sum())
        tiles = cut(machine, machine.fc, products)
        fc_bytes = int((tiles.count * tiles.weight_transactions + tiles.input_transactions).sum())
        moved = tables["traffic"].set_index("tensor")["transferred_bytes"]
        assert moved["W"] + moved["X"] == 32 * fc_bytes
    useful = tables["traffic"].set_index(["tensor", "plane"])
    for plane, (rows, bits) in asked.items():
        expected = int(plane_bytes(rows, ops.head_dim, bits).sum())
        assert useful.loc[plane, "useful_bytes"] == expected, plane
        assert useful.loc[plane, "transferred_bytes"] >= expected
    assert row["dram_transferred_bytes"] == 32 * row["dram_requests"]
    assert row["dram_transferred_bytes"] == useful["transferred_bytes"].sum()
    assert row["dram_transferred_bytes"] == tables["layers"]["dram_transferred_bytes"].sum()

    attention = (ops.queries + ops.recomputed) * ops.keys + ops.queries * ops.values
    if isinstance(machine, RowMachine):  # computes fewer keys and values than it fetches
        attention = ops.queries * sum(machine.computed(ops))
    assert row["multiplications"] == int((attention * ops.head_dim).sum()) + fc_work
    assert row["multiplications"] == tables["layers"]["multiplications"].sum()
    if not isinstance(machine, RowMachine):
        assert row["multiplications"] == multiplications(ops).sum() + fc_work

    assert row["cycles"] >= row["bound_compute_cycles"]
    assert row["cycles"] >= row["bound_bandwidth_cycles"]
    assert row["cycles"] == tables["layers"]["cycles"].sum()
    spent = tables["units"].groupby("unit")["cycles"].sum()
    assert set(spent) == {row["cycles"]}
    assert (tables["units"]["cycles"] >= 0).all()
    busy = tables["units"].query("state == 'busy'").set_index("unit")["cycles"]
    for unit, cycles in machine.busy_cycles(ops).items():
        assert busy[unit] == cycles.sum(), unit

    assert row["energy_pj"] == pytest.approx(tables["layers"]["energy_pj"].sum())
    assert row["energy_pj"] == pytest.approx(tables["energy"]["energy_pj"].sum())


@pytest.mark.parametrize("name", MACHINES)
def test_the_same_run_gives_the_same_result(wide_trace, name):
    first, again = (simulate(wide_trace, make_machine(name), 5) for _ in range(2))
    assert first.row == again.row
    for table, rows in first.tables.items():
        assert rows.equals(again.tables[table]), table


def test_pruning_never_costs_work_on_the_machine_that_exploits_it(make_trace):
    dense = simulate(make_trace(64), make_machine("spatten")).row
    pruned = simulate(make_trace(64, token_keep=[1, 0.5, 0.5]), make_machine("spatten")).row
    for column in ("cycles", "dram_transferred_bytes", "multiplications", "energy_pj"):
        assert pruned[column] < dense[column], column


def test_the_control_does_not_see_pruning(make_trace):
    dense = simulate(make_trace(40), make_machine("dense")).row
    pruned = simulate(
        make_trace(40, token_keep=[1, 0.5, 0.5], head_keep=[1, 1, 0.5], value_keep=0.3),
        make_machine("dense"),
    ).row
    for column in ("cycles", "dram_transferred_bytes", "multiplications", "energy_pj"):
        assert pruned[column] == dense[column], column
