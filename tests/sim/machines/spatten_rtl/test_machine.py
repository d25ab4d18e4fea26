"""The released RTL as a machine: its published waveform, its bounds, its settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim.machines import make_machine
from sim.machines.spatten_rtl import SpAttenRtl
from sim.machines.spatten_rtl.topk_latency import topk_latency_cycles
from sim.run import simulate
from workloads.errors import InputError
from workloads.spatten_csv import SpattenCsv, write_csv
from workloads.trace import Trace

MakeTrace = Callable[..., Trace]

WAVEFORM = {  # first clock, last clock, how often: the published run of one head
    "request accepted": (32, 32, 1),
    "K fetch request": (37, 51, 8),
    "K line pair": (112, 149, 32),
    "K line written": (115, 152, 64),
    "K line to Q.K": (122, 185, 64),
    "Q.K result": (130, 193, 64),
    "decision": (196, 259, 64),
    "row rebatched": (200, 263, 64),
    "row with indices": (202, 265, 64),
    "V allocation": (203, 266, 64),
    "V fetch request": (213, 269, 8),
    "V line pair": (262, 351, 32),
    "V line to Prob.V": (272, 370, 64),
    "Prob.V result": (275, 373, 64),
    "response": (374, 374, 1),
}
ANCHOR = SpAttenRtl(num_bufline=64, num_multipliers=128, bandwidth_downsample=2)
SMALL = SpAttenRtl(num_bufline=64)


def test_waveform_of_one_head(csv_trace: MakeTrace) -> None:
    """128 keys and values of 8 bit: 374 cycles, and every stage at its clock."""
    run = ANCHOR.run_trace(csv_trace([(128, 128)]))
    assert run.cycles == 374
    assert {name: run.events[name] for name in WAVEFORM} == WAVEFORM
    assert run.events["split request"][:2] == (38, 271)  # V's follow K's, which end at 53
    assert run.events["DRAM read"][0] == 41
    assert run.sram_accesses.sum(axis=1).tolist() == [[134, 64], [159, 64]]


@pytest.mark.parametrize(
    "rows",
    [
        [(8, 8)],
        [(64, 16), (40, 40)],
        [(32, 8, 6), (32, 8, 6), (16, 16, 12)],
    ],
)
def test_bounds_and_books_hold(rows: list[tuple[int, ...]], csv_trace: MakeTrace) -> None:
    result = simulate(csv_trace(rows), SMALL)
    row = result.row
    assert row["cycles"] >= row["bound_compute_cycles"]
    assert row["cycles"] >= row["bound_bandwidth_cycles"]
    assert row["dram_requests"] * 32 == row["dram_transferred_bytes"]
    assert sum(row["dram_reads_per_channel"]) == row["dram_requests"]
    for _, states in result.tables["units"].groupby("unit"):
        assert states["cycles"].sum() == row["cycles"]
    assert result.responses is not None
    assert result.responses["response_cycle"].max() == row["cycles"]
    assert result.tables["layers"]["cycles"].sum() == row["cycles"]


def test_busy_cycles_are_the_lines_read(csv_trace: MakeTrace) -> None:
    rows = [(64, 16), (40, 40), (48, 48, 12)]
    result = simulate(csv_trace(rows), SMALL)
    units = result.tables["units"].set_index(["unit", "state"])["cycles"]
    assert units["Q.K", "busy"] == 64 + 40 + 2 * 48
    assert units["Prob.V", "busy"] == 16 + 40 + 48


def test_the_next_head_waits_for_the_products_of_this_one(csv_trace: MakeTrace) -> None:
    """K of head 2 is asked for after the last K line of head 1, and then goes before its V."""
    one = SMALL.run_trace(csv_trace([(8, 8)]))
    two = SMALL.run_trace(csv_trace([(8, 8), (8, 8)]))
    last_product = one.events["K line to Q.K"][1]
    # a clock to the fork, two registers; two requests, each of two transactions a lane
    assert two.events["K fetch request"][1] == last_product + 1 + 3 + 2
    assert two.responses[0] > one.cycles


@pytest.mark.parametrize("lanes", [1, 16])
def test_topk_latency_is_kept_to_the_clock(csv_trace: MakeTrace, lanes: int) -> None:
    """Two clocks through the FIFO, the latency, and the allocator's register."""
    machine = SpAttenRtl(num_bufline=64, topk_parallelism=lanes)
    events = machine.run_trace(csv_trace([(64, 16)])).events
    latency = topk_latency_cycles(np.array([64]), np.array([16]), lanes)[0]
    assert events["V allocation"][0] == events["row with indices"][0] + 2 + latency + 1


def test_topk_latency_holds_a_row_back(csv_trace: MakeTrace) -> None:
    fast = SpAttenRtl(num_bufline=64, topk_parallelism=64)
    slow = SpAttenRtl(num_bufline=64, topk_parallelism=1)
    trace = csv_trace([(64, 16)])
    assert slow.run_trace(trace).cycles > fast.run_trace(trace).cycles + 64
    dense = csv_trace([(64, 64)])
    assert slow.run_trace(dense).cycles == fast.run_trace(dense).cycles


def test_a_row_that_needs_its_lsbs_is_computed_twice(csv_trace: MakeTrace) -> None:
    plain = SMALL.run_trace(csv_trace([(32, 32)]))
    again = SMALL.run_trace(csv_trace([(32, 32)], needs_lsbs=True))
    assert again.events["K line to Q.K"][2] == 2 * plain.events["K line to Q.K"][2]
    assert again.dram.counters.requests.sum() == plain.dram.counters.requests.sum() + 32


@pytest.mark.parametrize("field", ["num_bufline", "num_multipliers", "bandwidth_downsample"])
def test_sizes_are_powers_of_two(field: str) -> None:
    value = {"num_bufline": 96, "num_multipliers": 192, "bandwidth_downsample": 3}[field]
    sentence = f"^SpAttenRtl {field} must be a power of two, not {value}$"
    with pytest.raises(InputError, match=sentence):
        make_machine("spatten-rtl", {field: value})


def test_heads_of_other_widths_are_refused(csv_trace: MakeTrace) -> None:
    trace = csv_trace([(32, 32)], head_dim=32)
    sentence = r"^attention.parquet row 0: head_dim must be 64 on spatten-rtl, not 32$"
    with pytest.raises(InputError, match=sentence):
        simulate(trace, SMALL)


def test_a_row_is_named_as_in_its_file(csv_trace: MakeTrace) -> None:
    with pytest.raises(InputError, match=r"^row 2 \(iteration 0, layer 0, head 1\): quant_key_bit"):
        simulate(csv_trace([(32, 32), (32, 32, 7)]), SMALL)


TWIN = """
import json, sys
from pathlib import Path
from sim.machines.spatten_rtl import SpAttenRtl
from sim.machines.spatten_rtl.topk_latency import topk_latency_cycles
from workloads.spatten_csv import read_csv
from workloads.spatten_trace import to_trace
run = SpAttenRtl(num_bufline=64).run_trace(to_trace(read_csv(Path(sys.argv[1])), "twin"))
print(json.dumps([run.responses.tolist(), run.sram_accesses.tolist(), list(run.events.values())]))
"""


def test_kernel_without_compiler_is_equal(
    root: Path, tmp_path: Path, make_csv: Callable[..., SpattenCsv]
) -> None:
    write_csv(make_csv([(32, 8, 6), (32, 8, 6), (16, 16, 12)]), tmp_path / "rows.csv")
    outputs = [
        subprocess.run(
            [sys.executable, "-c", TWIN, str(tmp_path / "rows.csv")],
            cwd=root,
            env=os.environ | {"NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for disabled in ("0", "1")
    ]
    assert outputs[0] == outputs[1]
    assert len(json.loads(outputs[0])[0]) == 3
