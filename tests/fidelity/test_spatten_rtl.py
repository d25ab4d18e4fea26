"""`spatten-rtl` against the authors' RTL in Verilator: every run at hand, every number of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.dram import ramulator2023
from sim.machines.spatten_rtl import SpAttenRtl
from workloads.spatten_csv import read_csv
from workloads.spatten_trace import to_trace

pytestmark = pytest.mark.fidelity

GIVEN = os.environ.get("PRUNESIM_SHARED")
SHARED = Path(GIVEN) if GIVEN else Path(__file__).resolve().parents[3] / "shared"
FOLDER = SHARED / "oracles" / "spatten_rtl"

Row = dict[str, Any]


def rows_of(path: Path) -> list[Any]:
    """Return the rows of a results file as parameters; without the file, one that skips."""
    if not path.is_file():
        reason = f"no file {path}: set PRUNESIM_SHARED to the shared folder"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="missing")]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [pytest.param(row, id=f"{number}-{name_of(row)}") for number, row in enumerate(rows)]


def name_of(row: Row) -> str:
    if "stream" in row:
        return f"{row['stream']}-{row['max_outstanding']}"
    sizes = "-".join(str(value) for value in row["config"].values())
    return f"{Path(row['workload']).stem}-{sizes}"


def expected_responses(row: Row) -> list[int]:
    if "response_cycles" in row:
        return list(row["response_cycles"])
    file = FOLDER / row["responses"]
    table = np.loadtxt(file, delimiter=",", skiprows=1, dtype=np.int64, ndmin=2)
    return [int(cycle) for cycle in table[:, 1]]


@pytest.mark.parametrize("row", rows_of(FOLDER / "results.jsonl"))
def test_run_is_equal(row: Row) -> None:
    workload = read_csv(FOLDER / row["workload"])
    if row["iteration"] is not None:
        workload = workload.iteration(row["iteration"])
    machine = SpAttenRtl(**row["config"], row_multiple=row["row_multiple"])
    run = machine.run_trace(to_trace(workload, "workload"))
    assert run.cycles == row["cycles"]
    assert run.responses.tolist() == expected_responses(row)
    if row["dram_reads_per_channel"]:  # not given for every run
        dram = run.dram.counters
        assert dram.requests.tolist() == row["dram_reads_per_channel"]
        assert dram.row_hits.sum() == row["dram_row_hits"]
        assert dram.row_misses.sum() == row["dram_row_misses"]
        assert dram.row_conflicts.sum() == row["dram_row_conflicts"]
        assert run.dram_latency_sum_cycles == row["dram_latency_sum_cycles"]
    if "sram_reads_writes" in row:
        given = row["sram_reads_writes"]
        assert run.sram_accesses[0].tolist() * 12 == given["keybuf"]
        assert run.sram_accesses[1].tolist() * 12 == given["valbuf"]
        assert run.result_fifo_accesses.tolist() == given["respfifo"]


@pytest.mark.parametrize("row", rows_of(FOLDER / "dram" / "results.jsonl"))
def test_dram_stream_is_equal(row: Row) -> None:
    found = sorted((FOLDER / "dram").glob(f"{row['stream']}-out*.csv"))
    if not found:
        pytest.skip(f"no file with the addresses of {row['stream']}")
    table = np.loadtxt(found[0], delimiter=",", skiprows=1, dtype=np.int64)
    accepted, done = ramulator2023.stream(table[:, 1], row["max_outstanding"])
    assert int(done.max()) == row["last_done_cycle"]
    assert float((done - accepted).mean()) == pytest.approx(row["mean_latency_cycles"], abs=1e-9)


def stream_files() -> list[Any]:
    found = sorted((FOLDER / "dram").glob("*-out*.csv"))
    if not found:
        reason = f"no file {FOLDER / 'dram' / '*.csv'}: set PRUNESIM_SHARED to the shared folder"
        return [pytest.param(Path(), marks=pytest.mark.skip(reason=reason), id="missing")]
    return [pytest.param(path, id=path.stem) for path in found]


@pytest.mark.parametrize("path", stream_files())
def test_every_dram_request_is_equal(path: Path) -> None:
    table = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)
    accepted, done = ramulator2023.stream(table[:, 1], int(path.stem.partition("-out")[2]))
    assert (accepted == table[:, 2]).all()
    assert (done == table[:, 3]).all()
