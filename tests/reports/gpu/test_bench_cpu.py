"""`prunesim bench cpu`: a bench of two tiny groups, and the rows that are committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from algos.kernels.cpu import bench, cases
from reports.cli import app
from reports.errors import Interrupted
from reports.gpu import cpu_benching
from reports.gpu.measured import CPU, CPU_COLUMNS, read_measured


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def groups() -> Any:
        random = np.random.default_rng(0)
        yield cases.product_group("tiny", 8, 40, 3, random)
        yield cases.attention_group("tiny-attention", 16, 20, 20, 8, random)

    monkeypatch.setattr(cases, "groups", groups)
    short = bench.Settings(windows=2, window_ns=1000, most_copies=2)
    monkeypatch.setattr(bench, "QUICK", short)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "cpu", *arguments])


def test_rows_are_complete_and_kept(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path), "--quick", "--threads", "1")
    result = invoke(*out, "--json", "--note", "a busy machine")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found) == 5 + 7
    for row in found:
        assert row["status"] == "measured", row["reason"]
        assert row["label"] == "measured:cpu"
        assert row["note"] == "a busy machine"
        assert row["threads"] == 1
        assert set(CPU_COLUMNS) <= set(row) | {"implementation"}
    frame = read_measured(tmp_path, CPU_COLUMNS)
    assert len(frame) == 12
    again = invoke(*out)
    assert again.exit_code == 2
    assert "or --resume be given to go on with it" in again.stderr
    before = (tmp_path / "cpu.jsonl").read_bytes()
    resumed = invoke(*out, "--resume")
    assert resumed.exit_code == 0
    assert (tmp_path / "cpu.jsonl").read_bytes() == before
    assert "cpu-block-spmm" in resumed.stdout


def test_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "bench", stop)
    with pytest.raises(Interrupted, match=r"^stopped; 0 rows are in .*, --resume goes on$"):
        cpu_benching.run_bench(
            tmp_path, quick=True, resume=False, threads=1, note="", visible=False
        )


def test_committed_rows() -> None:
    frame = read_measured(CPU, CPU_COLUMNS)
    assert len(frame)
    assert set(frame["status"]) == {"measured"}
    assert set(frame["label"]) == {"measured:cpu"}
    assert (frame["p10_ns"] <= frame["median_ns"]).all()
    assert (frame["median_ns"] <= frame["p90_ns"]).all()
    assert (frame["vector_bits"] >= 128).all()
    assert frame["note"].str.len().gt(0).all()
    sparse = frame[frame["kernel"] == "cpu-block-spmm"]
    assert set(sparse["sparsity"].round(1)) == {0.7, 0.8, 0.9}
    assert sparse["speedup"].notna().all()
