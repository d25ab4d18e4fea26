"""The machines that SpAtten is compared with: closed forms, published throughput, equal sizes."""

import numpy as np
import pytest

from sim.machines import make_machine, rows_kernel
from sim.run import simulate
from workloads.shapes import SHAPES
from workloads.synthetic import shape_trace

IDEAL = {"dram.ideal": "true", "fetch.request_latency_cycles": "0"}


@pytest.fixture(scope="module")
def bert():
    """BERT-Base on 384 tokens, nothing pruned, in 8 bit."""
    return shape_trace(SHAPES["bert-base"], 384, k_bits=8, v_bits=8)


def gops(row, operations):
    return operations / row["latency_ns"]


@pytest.mark.parametrize("name", ["spatten-eighth", "a3", "mnnfast"])
def test_all_have_128_multipliers_and_64_gb_per_s(name):
    machine = make_machine(name)
    assert machine.multipliers == 128
    assert machine.peak_bytes_per_cycle == 64
    assert machine.hardware.key_buffer.bytes == machine.hardware.value_buffer.bytes == 196_608


def test_the_control_can_be_as_small():
    machine = make_machine(
        "dense",
        {"array.rows": 8, "array.columns": 16, "dram": make_machine("a3").dram},
    )
    assert machine.multipliers == 128
    assert machine.peak_bytes_per_cycle == 64


def test_an_eighth_of_spatten_is_as_fast_as_its_authors_model(bert):
    """bert.cpp with 64 multipliers and 2 channels: 21,350,100 cycles."""
    row = simulate(bert, make_machine("spatten-eighth")).row
    assert row["cycles"] == pytest.approx(21_350_100, rel=0.01)


def test_a3_gains_what_its_search_leaves(bert):
    """One operation a multiplication, as the paper counts A3's 128 multipliers: 221 GOP/s."""
    multiplications = 2 * 384 * 384 * 64 * 144
    row = simulate(bert, make_machine("a3")).row
    assert gops(row, multiplications) == pytest.approx(221, rel=0.2)
    exact = {"iteration_ratio": 1, "candidate_ratio": 1, "survivor_ratio": 1}
    assert gops(simulate(bert, make_machine("a3", exact)).row, multiplications) == pytest.approx(
        128, rel=0.01
    )


def test_mnnfast_is_bound_by_dense_scores(bert):
    """Counted likewise: 120 GOP/s published, 128 at most."""
    multiplications = 2 * 384 * 384 * 64 * 144
    fast = simulate(bert, make_machine("mnnfast")).row
    assert gops(fast, multiplications) == pytest.approx(120, rel=0.07)
    slow = simulate(bert, make_machine("mnnfast", {"value_ratio": 1})).row
    assert slow["cycles"] == pytest.approx(fast["cycles"], rel=0.01)
    assert slow["energy_pj"] > fast["energy_pj"]


@pytest.mark.parametrize("tokens", [1, 16, 33])
def test_one_head_with_ideal_memory_is_a_closed_form(tokens):
    """Search n/2 of every query, one after another; then what follows the last search."""
    shape = SHAPES["bert-base"]
    trace = shape_trace(shape, tokens)
    machine = make_machine("a3", IDEAL)
    row = simulate(trace, machine).row
    search, keys, values = -(-tokens // 2), int(np.ceil(tokens * 0.3)), int(np.ceil(tokens * 0.2))
    slowest = max(search, keys, values)
    tail = search + 1 + keys + 8 + keys + 87 + values + 3
    layer = machine.fetch.response_latency_cycles + (12 * tokens - 1) * slowest + tail
    assert row["cycles"] == pytest.approx(12 * layer, abs=12 * 12)


def test_exposed_sorting_delays_every_head(bert):
    hidden = simulate(bert, make_machine("a3")).row["cycles"]
    exposed = simulate(bert, make_machine("a3", {"hide_sorting": "false"})).row["cycles"]
    assert exposed > hidden


def test_pruning_in_the_trace_is_not_exploited():
    shape = SHAPES["deit-small"]
    dense = shape_trace(shape, 40)
    pruned = shape_trace(shape, 40, token_keep=[1.0] * 6 + [0.5] * 6, value_keep=0.3)
    for name in ("a3", "mnnfast"):
        machine = make_machine(name)
        assert simulate(pruned, machine).row["cycles"] == simulate(dense, machine).row["cycles"]


def test_kernel_without_compiler_is_equal():
    random = np.random.default_rng(3)
    for _ in range(5):
        arguments = [
            np.zeros(3, np.int64),
            np.zeros((3, 4), np.int64),
            np.zeros((3, 2), np.int64),
            int(random.integers(0, 50)),
            int(random.integers(0, 90)),
            np.sort(random.integers(0, 200, 9)),
            int(random.integers(0, 300)),
            random.integers(1, 20, 3),
            random.integers(0, 9, 3),
        ]
        twins = [np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments]
        assert rows_kernel.run_head(*arguments) == rows_kernel.run_head.py_func(*twins)
        for ours, theirs in zip(arguments, twins, strict=True):
            assert np.array_equal(ours, theirs)


def test_a_row_waits_for_its_operands_by_hand():
    """Two units of 4 and 6 cycles, latency 1; two queries; V comes late."""
    free, cycles, spans = (np.zeros(s, np.int64) for s in (2, (2, 4), (2, 2)))
    end = rows_kernel.run_head(
        free, cycles, spans, 3, 5, np.array([2, 20]), 15, np.array([4, 6]), np.array([1, 1])
    )
    # query 0: unit 0 at 5..9, unit 1 waits for V until 15..21; query 1: 20..24, 25..31, out at 32
    assert end == 32
    assert spans.tolist() == [[5, 24], [15, 31]]
    assert cycles[0].tolist() == [8, 2 + 11, 0, 3]
    assert cycles[1].tolist() == [12, 12, 4, 3]
