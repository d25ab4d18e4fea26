"""Two sweeps, two runs, and one of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from reports.cli import app
from reports.sweeping.compare_sweeps import compare_sweeps
from sim.result import Result
from workloads.errors import InputError

Make = Callable[..., Path]


def _row(number: int, own: dict[str, Any], *, slower: float = 1.0) -> dict[str, Any]:
    lanes = own["machine.value_topk.lanes"]
    return {
        "config_hash": f"lanes {lanes}",
        "latency_ns": 100.0 / lanes * (slower if lanes == 4 else 1),
        "energy_pj": 10.0 * lanes,
    }


def _space(lanes: list[int], **more: Any) -> dict[str, Any]:
    return {"method": "spatten", "axes": {"machine.value_topk.lanes": lanes}, **more}


@pytest.fixture
def sweeps(make_sweep: Make, tmp_path: Path) -> tuple[Path, Path]:
    """A: 1, 2, 4 lanes. B: 2, 4, 8 lanes, 4 lanes three times as slow and so beaten by 2."""
    a = make_sweep(tmp_path / "a", _space([1, 2, 4]), _row)
    b = make_sweep(tmp_path / "b", _space([2, 4, 8]), lambda n, own: _row(n, own, slower=3))
    return a, b


def test_sweeps(sweeps: tuple[Path, Path]) -> None:
    found = compare_sweeps(*sweeps).plain()
    assert found["in_both"] == 2
    assert found["changed"] == [
        {
            "number_a": 2,
            "number_b": 1,
            "objective": "latency_ns",
            "a": 25.0,
            "b": 75.0,
            "ratio": 3.0,
        }
    ]
    assert found["front"] == {"a": [2, 1, 0], "b": [2, 0]}
    assert found["front_beaten"] == {"a": [], "b": []}
    best = {row["objective"]: (row["a"], row["b"]) for row in found["best"]}
    assert best == {"latency_ns": (25.0, 12.5), "energy_pj": (10.0, 20.0)}
    assert [f["field"] for f in found["space"]] == ["axes.machine.value_topk.lanes.values"]
    assert found["inputs_differ"] == []


def test_front_that_is_beaten(make_sweep: Make, tmp_path: Path) -> None:
    a = make_sweep(tmp_path / "a", _space([1, 4]), lambda n, own: _row(n, own, slower=2))
    b = make_sweep(tmp_path / "b", _space([1, 4]), _row)
    found = compare_sweeps(a, b)
    assert found.differences["front_beaten"] == {"a": [1], "b": []}
    assert "B has something better for 1 of the 2 points on A's front" in found.headline


def test_other_inputs_are_said(sweeps: tuple[Path, Path], make_sweep: Make, tmp_path: Path) -> None:
    other = make_sweep(tmp_path / "c", _space([1], limit=4), _row)
    found = compare_sweeps(sweeps[0], other)
    assert found.inputs_differ == ["limit"]
    assert "limit differs" in found.lines()[1]


def test_no_objective_in_common(make_sweep: Make, tmp_path: Path) -> None:
    a = make_sweep(tmp_path / "a", _space([1]), _row)
    b = make_sweep(tmp_path / "b", _space([1], objectives={"latency_ns": "max"}), _row)
    with pytest.raises(InputError, match="must share an objective"):
        compare_sweeps(a, b)


def test_without_a_feasible_point(sweeps: tuple[Path, Path], make_sweep: Make) -> None:
    bounds = {"constraints": {"latency_ns": {"max": 1}}}
    none = make_sweep(sweeps[0].parent / "none", _space([1, 2], **bounds), _row)
    found = compare_sweeps(none, sweeps[1])
    assert found.plain()["best"] == []
    found.write(sweeps[0].parent / "x.html")


def _invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_page_of_sweeps(sweeps: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "both.html"
    done = _invoke(*sweeps, "--out", out)
    assert done.exit_code == 0
    assert "2 are in both, 1 of them changed" in done.stdout
    text = out.read_text("utf-8")
    assert 'id="figure-fronts"' in text
    assert "3.00" in text
    assert f"--out {out}" in text


def test_runs(
    make_result: Callable[..., Result],
    make_run: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("dense", "random", "spatten")
    a = make_run(tmp_path / "a", [make_result(name, "spatten") for name in names])
    changed = [make_result(name, "spatten") for name in names]
    changed[-1].row["cycles"] *= 2
    changed[-1].row["parameters"] = json.dumps({"token_keep": 0.4})
    b = make_run(tmp_path / "b", changed)
    done = _invoke(a, b, "--json")
    found = json.loads(done.stdout)
    assert found["kind"] == "runs"
    own = {row["quantity"]: row["ratio"] for row in found["rows"] if row["studied"]}
    assert own["cycles"] == 2
    assert own["energy_pj"] == 1
    assert own["accuracy_spearman"] == 1
    assert {row["method"] for row in found["rows"]} == set(names)
    assert found["configuration"] == [{"field": "method.token_keep", "a": "0.6", "b": "0.4"}]
    assert found["only_a"] == found["only_b"] == found["inputs_differ"] == []
    text = (tmp_path / "compare.html").read_text("utf-8")
    assert "spatten on spatten in both: B has 2.00× more cycles" in text


def test_runs_of_other_machines(
    make_result: Callable[..., Result], make_run: Make, tmp_path: Path
) -> None:
    a = make_run(tmp_path / "a", [make_result("spatten", "spatten")])
    b = make_run(tmp_path / "b", [make_result("spatten", "dense")], machine="dense")
    found = json.loads(_invoke(a, b, "--json", "--out", tmp_path / "x.html").stdout)
    assert found["rows"][0]["machine"] == "spatten → dense"
    assert found["only_a"] == [["spatten", "spatten"]]


def test_one_of_each(sweeps: tuple[Path, Path], run_folder: Path) -> None:
    done = _invoke(run_folder, sweeps[0])
    assert done.exit_code == 2
    assert "must be of a kind to be compared" in done.stderr
    done = _invoke(*sweeps, "--figure", "front")
    assert done.exit_code == 2
    assert "must stand with one folder" in done.stderr
    done = _invoke(*sweeps, "--out", "/nowhere/x.html")
    assert "must be in a folder that exists" in done.stderr


def test_one_figure_of_a_run(run_folder: Path) -> None:
    done = _invoke(run_folder, "--figure", "energy", "--json")
    assert json.loads(done.stdout) == {"figure": str(run_folder / "figures" / "energy.svg")}
    assert _invoke(run_folder, "--figure", "enrgy").exit_code == 2
