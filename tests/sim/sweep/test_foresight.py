"""Ranges of columns: every row lies within them, and what is called exact is exact."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sim.machines import make_machine
from sim.run import simulate
from sim.sweep.foresight import UNKNOWN, foresee
from sim.sweep.point import TraceOrder
from tests.sim.sweep.spaces import Synthetic
from workloads.trace import write_trace

ORDER = TraceOrder("synthetic", "m", (("keep", 0.5),), None, 0, None, "whole")
EXACT = ("area_mm2", "dram_transferred_bytes", "multiplications", "accuracy_share", "clock_hz")
LEAST = ("cycles", "latency_ns", "energy_pj")
MOST = ("throughput_gops", "dram_gb_per_s")


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("foresight") / "t.trace"
    write_trace(Synthetic().make(ORDER), path)
    return path


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("spatten", {}),
        ("spatten", {"clock_hz": 0.7e9, "softmax.lanes": 1}),
        ("spatten", {"query_key.multipliers": 64, "key_buffer.rows": 333}),
        ("spatten-eighth", {}),
        ("dense", {}),
    ],
)
def test_a_row_lies_within_its_ranges(trace, name, settings):
    machine = make_machine(name, settings)
    row = simulate(Synthetic().make(ORDER), machine).row
    (found,) = foresee(trace, [machine], [*EXACT, *LEAST, *MOST, "dram_activates"])
    assert found is not None
    for column in EXACT:
        assert found[column] == (row[column], row[column]), column
    for column in LEAST:
        assert 0 < found[column][0] <= row[column], column
        assert found[column][1] == math.inf
    for column in MOST:
        assert found[column][0] <= row[column] <= found[column][1] < math.inf, column
    assert found["dram_activates"] == UNKNOWN


def test_a_machine_that_cannot_run_has_no_ranges(trace):
    cannot = make_machine("spatten", {"query_key.multipliers": 32})  # heads are 64 wide
    fine = make_machine("spatten")
    found = foresee(trace, [cannot, fine], ["cycles"])
    assert found[0] is None
    assert found[1] is not None
