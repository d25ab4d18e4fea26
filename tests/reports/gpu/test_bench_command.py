"""`prunesim bench gpu`: the dry run, no GPU, and what is shown of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from algos.kernels import KERNELS, make_kernel
from algos.kernels.plan import FULL, QUICK
from reports.cli import app
from reports.errors import Interrupted
from reports.gpu import benching


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "gpu", *arguments])


def test_dry_run_lists_every_paper_shape() -> None:
    found = json.loads(invoke("--dry-run", "--json").stdout)
    own = {
        (row["kernel"], row["shape"]) for row in found if row["share"] is None and not row["beside"]
    }
    for name in KERNELS:
        kernel = make_kernel(name)
        assert {(name, label) for label in kernel.papers} <= own
        shares = {
            row["share"] for row in found if row["kernel"] == name and row["share"] is not None
        }
        assert shares == (set(FULL.shares) if kernel.sparsity else set())
    for row in found:
        assert row["dram_bytes"] > 0
        assert row["windows"] >= 5
        assert (row["implementation"] == "prunesim") == bool(row["programs"])
        assert "modelled_ns" in row
    shown = invoke("--dry-run").stdout
    assert f"{len(found)} rows; each kernel is first compared" in shown
    assert "torch SDPA" in shown


def test_quick_and_names() -> None:
    found = json.loads(invoke("dense-prefill", "--dry-run", "--quick", "--json").stdout)
    assert {row["kernel"] for row in found} == {"dense-prefill"}
    assert {row["windows"] for row in found} == {QUICK.windows}


def test_no_gpu(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    result = invoke("--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert result.stderr.startswith("prunesim: bench gpu must have an NVIDIA GPU")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unknown_kernel() -> None:
    result = invoke("dense-prefil", "--dry-run")
    assert result.exit_code == 2
    assert "did you mean 'dense-prefill'" in result.stderr


@pytest.fixture
def written(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path / "gpu.jsonl"
    rows += [{**rows[2], "key": "bad", "status": "refused", "reason": "its results are wrong"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_bench_shows_its_rows(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benching, "_check_gpu", lambda: None)
    monkeypatch.setattr(benching, "bench_apart", lambda *_: None)
    result = invoke("--out", str(written.parent), "--resume")
    assert result.exit_code == 0, result.output
    assert "70.0 µs" in result.stdout
    assert "halved at llama: refused, its results are wrong" in result.stdout
    assert "halved at llama (measured:h100) is faster than torch SDPA" in result.stdout
    assert written.with_name("break_even.svg").is_file()
    found = json.loads(invoke("--out", str(written.parent), "--resume", "--json").stdout)
    assert len(found["rows"]) == 8
    assert len(found["break_even"]) == 1


def test_rows_are_not_overwritten(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benching, "_check_gpu", lambda: None)
    result = invoke("--out", str(written.parent))
    assert result.exit_code == 2
    assert "or --resume be given to go on with it" in result.stderr


def test_stopped(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benching, "_check_gpu", lambda: None)
    monkeypatch.setattr(benching, "bench_apart", stop)
    with pytest.raises(Interrupted, match=r"^stopped; 8 rows are in .*, --resume goes on$"):
        benching.run_bench([], written.parent, quick=True, resume=True, visible=False)
