"""The control: a systolic array with a closed form."""

import pytest

from sim.machines import dense_kernel as kernel
from sim.machines import make_machine
from sim.machines.dense import ArrayConfig
from sim.run import simulate
from workloads.errors import InputError


def test_folds_by_hand():
    array = ArrayConfig(rows=4, columns=8)
    assert array.cycles(columns=8, depth=10) == 10
    assert array.cycles(columns=9, depth=10) == 20
    assert array.cycles(columns=8, depth=2) == 4  # results leave one row a cycle
    assert array.skew_cycles == 10


@pytest.mark.parametrize("tokens", [1, 24, 32, 33, 200])
def test_with_ideal_memory_one_layer_equals_the_closed_form(make_trace, tokens):
    """Array: Q.K and Prob.V of every tile but for the wait of the last Prob.V for softmax."""
    machine = make_machine("dense", {"dram.ideal": "true"})
    layers = simulate(make_trace(tokens), machine).tables["layers"]
    tiles = -(-tokens // 32)
    score, value = machine.array.cycles(tokens, 32), machine.array.cycles(32, tokens)
    rows = [32] * (tiles - 1) + [tokens - 32 * (tiles - 1)]
    latency = 28 + 23 + 36
    free_array, free_softmax, ready = 19, 0, None
    for row in rows * 4:
        free_array += score
        free_softmax = max(free_array + 62, free_softmax) + row * machine.softmax.cycles(tokens)
        if ready is not None:
            free_array = max(free_array, ready) + value
        ready = free_softmax + latency
    end = max(free_array, ready) + value + 62
    assert layers["cycles"].tolist() == [end] * 3


def test_kernel_equals_its_python_twin(make_trace, monkeypatch):
    trace = make_trace(40, sequences=2)
    compiled = simulate(trace, make_machine("dense"))
    for name in ("_idle", "weight", "run_head"):
        monkeypatch.setattr(kernel, name, getattr(kernel, name).py_func)
    assert simulate(trace, make_machine("dense")).row == compiled.row


def test_a_sequence_longer_than_the_sram_is_refused(make_trace):
    with pytest.raises(InputError, match=r"^attention.parquet row 0: keys must be at most 2048"):
        simulate(make_trace(2049), make_machine("dense"))
