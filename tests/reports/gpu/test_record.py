"""The record of compiled kernels: of these programs, complete, used without a compiler."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algos.kernels import KERNELS, make_kernel
from algos.kernels.inspection import Item, Row, program_hash
from reports.cli import app
from reports.gpu import record
from workloads.errors import InputError
from workloads.gpu_launch import TARGETS, blocks_per_sm


@pytest.fixture
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a copy of the record in place of it, which a test may change."""
    path = tmp_path / "gpu" / "kernels.json"
    path.parent.mkdir()
    path.write_text(record.RECORD.read_text("utf-8"))
    monkeypatch.setattr(record, "RECORD", path)
    return path


def test_record_is_current() -> None:
    assert record.stale_kernels() == [], f"renew it: `{record.RENEW}`"
    hashes = [row["sha256"] for row in record.read_record()]
    assert len(set(hashes)) == len(hashes)


def test_every_recorded_program_fits() -> None:
    for row in record.read_record():
        limits = TARGETS[row["target"]]
        found = blocks_per_sm(limits, row["warps"], row["registers"], row["shared_bytes"])
        assert found == row["blocks_per_sm"] >= 1, row


@pytest.mark.parametrize("name", KERNELS)
def test_launches_of_every_paper_shape(name: str) -> None:
    kernel = make_kernel(name)
    for shape in kernel.papers.values():
        for target in TARGETS:
            programs, found = kernel.programs(shape, target), record.launches(kernel, shape, target)
            assert [launch.kernel for launch in found] == [p.function for p in programs]
            assert all(launch.registers > 0 for launch in found)
            assert [launch.blocks for launch in found] == [p.blocks for p in programs]


def test_a_program_that_is_not_recorded() -> None:
    kernel = make_kernel("dense-prefill")
    program = dataclasses.replace(
        kernel.programs(kernel.papers["bert-base-384"], "sm_90")[0], warps=16
    )
    with pytest.raises(InputError, match=r"must be recorded: `prunesim kernels record`$"):
        record.resources(kernel, program, "sm_90")


def test_no_record(own_record: Path) -> None:
    own_record.unlink()
    assert record.read_record() == []
    compiled = [name for name in KERNELS if make_kernel(name).promises]
    assert record.stale_kernels() == compiled


def fake(item: Item, **facts: object) -> Row:
    program = item.program
    known: dict[str, object] = {
        **{"kernel": item.kernel, "shape": item.shape, "function": program.function},
        **{"target": item.target, "language": "triton", "warps": program.warps, "compiled": True},
        **{"registers": 32, "blocks_per_sm": 8},
        "sha256": program_hash(make_kernel(item.kernel), program, item.target),
    }
    return Row(**{**known, **facts})  # type: ignore[arg-type]


def test_renew_compiles_only_what_is_missing(
    own_record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(own_record.read_text())
    taken = whole["programs"].pop(0)
    own_record.write_text(json.dumps(whole))
    asked: list[Item] = []

    def compiled(items: list[Item], jobs: int) -> list[Row]:
        asked.extend(items)
        return [fake(item) for item in items]

    monkeypatch.setattr(record, "inspect_apart", compiled)
    result = CliRunner().invoke(app, ["kernels", "record"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == f"{taken['kernel']}: recorded"
    assert [item.shape for item in asked] == [taken["shape"]]
    found = record.read_record()
    assert [row["sha256"] for row in found[1:]] == [row["sha256"] for row in whole["programs"]]
    assert found[0]["registers"] == 32
    assert record.stale_kernels() == []


def test_a_program_too_many_makes_the_record_stale(own_record: Path) -> None:
    whole = json.loads(own_record.read_text())
    whole["programs"].append({**whole["programs"][0], "kernel": "gone", "sha256": "0"})
    own_record.write_text(json.dumps(whole))
    assert record.stale_kernels() == ["gone"]
    assert record.renew(1, visible=False) == ["gone"]
    assert record.stale_kernels() == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"broken": ("it must not spill, it does",)}, "^it must not spill, it does$"),
        ({"compiled": False, "reason": "Triton is missing"}, "^Triton is missing$"),
    ],
)
def test_what_is_broken_is_not_recorded(
    own_record: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, object], said: str
) -> None:
    own_record.unlink()
    monkeypatch.setattr(record, "inspect_apart", lambda items, _: [fake(items[0], **facts)])
    with pytest.raises(InputError, match=said):
        record.renew(1, visible=False)
    assert not own_record.exists()
