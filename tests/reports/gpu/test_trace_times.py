"""A trace on a modelled GPU, from Python and from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algos.kernels.inspection import Item, Row
from reports.cli import app
from reports.gpu import record
from reports.gpu.baselines.items import trace_items
from reports.gpu.trace_times import time_trace
from workloads.shapes import SHAPES
from workloads.synthetic import shape_trace
from workloads.trace import Trace, write_trace


@pytest.fixture
def trace() -> Trace:
    """Return BERT-Base at 384 tokens, whose programs are recorded."""
    return shape_trace(SHAPES["bert-base"], 384)


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["simulate", *arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_nothing_pruned_takes_as_long_either_way(trace: Trace) -> None:
    found = time_trace(trace, "h100")
    assert found.dense.label == "modelled:h100"
    assert found.dense.ns is not None
    assert found.dense.ns > 0
    assert found.speedup == 1
    assert found.dense.kernels["dense-prefill"] == 12


def test_the_command_tells_both_times(trace: Trace, tmp_path: Path) -> None:
    write_trace(trace, tmp_path / "x.trace")
    code, told, _ = invoke(str(tmp_path / "x.trace"), "--machine", "modelled:h100")
    assert code == 0
    assert "bert-base" in told
    assert "modelled, never measured: off by" in told
    code, told, _ = invoke(str(tmp_path / "x.trace"), "--machine", "modelled:h100", "--json")
    answer = json.loads(told)
    assert answer["dense"]["ns"] == pytest.approx(time_trace(trace, "h100").dense.ns)
    assert answer["cost_model"]["check_rows"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--machine", "modelled:h10"], "(did you mean 'h100'?)"),
        (["--machine", "modelled:h100", "--set", "a=1"], "--set a=1 must be left out"),
        (["--machine", "modelled:h100", "--rows", "r.csv"], "--rows must be left out"),
        (["--machine", "modelled:h100", "--out", "here"], "--out must be left out"),
        (["--machine", "modelled:h100"], "does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    code, _, told = invoke(str(tmp_path / "none.trace"), *arguments)
    assert code == 2
    assert sentence in told


@pytest.fixture
def nothing_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(record, "RECORD", tmp_path / "none.json")
    monkeypatch.setattr(record, "_COMPILED", {})
    yield
    record._by_hash.cache_clear()


@pytest.mark.usefixtures("nothing_recorded")
def test_what_is_not_recorded_is_compiled_once(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Item] = []

    def compiled(items: list[Item], jobs: int) -> Iterator[Row]:
        asked.extend(items)
        for item in items:
            names = {"kernel": item.kernel, "shape": item.shape, "target": item.target}
            yield Row(
                **names,
                function=item.program.function,
                language="triton",
                warps=item.program.warps,
                compiled=True,
                registers=100,
                shared_bytes=40_000,
                sha256=record._hash(item),
            )

    monkeypatch.setattr(record, "inspect_apart", compiled)
    untimed = time_trace(trace, "h100")
    assert untimed.dense.ns is None
    assert any("must be recorded" in note for note in untimed.dense.notes)
    items = trace_items(trace, "bert", ["dense-prefill"], ["sm_90"])
    record.compile_missing(items, 1, visible=False)
    record.compile_missing(items, 1, visible=False)
    assert len(asked) == len({record._hash(item) for item in items})
    assert time_trace(trace, "h100").dense.ns is not None
