"""Bounds hold for every machine, and are equal to what a run reports where they say so."""

import dataclasses

import pytest

from sim.bounds import bounds
from sim.machines import MACHINES, make_machine
from sim.run import simulate
from workloads.errors import InputError
from workloads.synthetic import shape_trace

SETTINGS = [(name, {}) for name in MACHINES] + [
    ("spatten", {"width_bits": 8, "fetch.stored_bits": "8,12", "prefill_value_pruning": True}),
    ("spatten", {"precision.wide_operands": "8+4", "prune_queries": False}),
    ("spatten", {"precision.lsb_tensors": "QKV", "flow.reset_cycles": 144}),
    ("spatten", {"dram.ideal": True}),
    ("spatten", {"dram.n_bl": 4, "query_key.multipliers": 64, "clock_hz": 2e9}),
    ("spatten-e2e", {"fc.weight_bits": 12, "key_buffer.rows": 256}),
    ("accllm-u280", {"weight_channels": 32, "window": False, "token_tile": 128}),
    ("flightllm-u280", {"cores": 1, "vector_macs": 64}),
]

EQUAL = (
    "bound_compute_cycles",
    "bound_bandwidth_cycles",
    "multiplications",
    "dram_transferred_bytes",
    "area_mm2",
)
AT_LEAST = ("cycles", "latency_ns", "energy_pj")


@pytest.fixture(scope="module")
def traces(wide_trace):
    shape = wide_trace.header.model
    small = dataclasses.replace(shape, layers=1, heads=2, kv_heads=2, hidden=128)
    return {
        "pruned": wide_trace,
        "one token": shape_trace(small, 1),
        "long": shape_trace(shape, 200, value_keep=0.3, requant_share=1.0, k_bits=8, k_lsb_bits=4),
        "generation": shape_trace(small, 60, generate=5, token_keep=[0.4], v_bits=6),
    }


@pytest.mark.parametrize("kind", ["pruned", "one token", "long", "generation"])
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_no_run_beats_its_bounds(traces, kind, name, settings):
    machine = make_machine(name, settings)
    found, row = bounds(traces[kind], machine), simulate(traces[kind], machine).row
    for column in EQUAL:
        assert getattr(found, column) == row[column], column
    for column in AT_LEAST:
        assert 0 < getattr(found, column) <= row[column], column
    assert found.cycles == max(row["bound_compute_cycles"], row["bound_bandwidth_cycles"])


def test_energy_holds_the_bits_that_leave_the_memory(traces):
    machine = make_machine("accllm-u280")
    row = simulate(traces["generation"], machine).row
    found = bounds(traces["generation"], machine)
    moving = found.dram_transferred_bytes * 8 * (2.68 + 0.80)  # pJ a bit: out of the array, I/O
    assert moving < found.energy_pj < row["energy_pj"]


def test_what_is_wrong_with_a_trace_is_said_as_by_a_run(dense_trace):
    with pytest.raises(InputError, match="head_dim must be 64 on spatten-rtl"):
        bounds(dense_trace, make_machine("spatten-rtl"))
    empty = dataclasses.replace(
        dense_trace, tables=dense_trace.tables | {"attention": dense_trace.tables["attention"][:0]}
    )
    with pytest.raises(InputError, match="must have at least 1 row"):
        bounds(empty, make_machine("spatten"))
