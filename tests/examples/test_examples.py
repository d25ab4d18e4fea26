"""The scripts in `examples`: each at reduced size, and each beside its TOML file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from reports.sweeping.traces import ModelTraces
from sim.sweep import Space, Sweep
from sim.sweep.store import Store

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))
FINDS = {
    "accllm_bits_context": ("token/s", "160.0", "2 points do not fit the card"),
    "kv_budget_machines": ("loss, nats a byte", "times faster than unpruned", "accllm-u280"),
    "spatten_topk_sram": ("speed over 16 comparators", "1.000", "least delay x area"),
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_are_here() -> None:
    assert sorted(FINDS) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_and_file_are_one_space(name: str, tmp_path: Path) -> None:
    space = load(name).space()
    read = Space.read(FOLDER / f"{name}.toml")
    assert read.model_dump_json() == space.model_dump_json()
    Sweep(space, ModelTraces(), tmp_path)  # all names and fields are there


@pytest.mark.model
@pytest.mark.parametrize("name", SCRIPTS)
def test_runs_at_reduced_size(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main, out = load(name).main, tmp_path / "sweep"
    asked = ["--quick", "--no-report", "--jobs", "1", "--out", str(out)]
    main(asked)
    told = capsys.readouterr().out
    for found in FINDS[name]:
        assert found in told
    with Store(out, reading=True) as store:
        counts = store.counts()
    assert counts["done"] == load(name).space(quick=True).size() - counts.get("failed", 0)
    with pytest.raises(SystemExit, match="2"):
        main(asked)
    assert "holds a sweep: --resume goes on" in capsys.readouterr().err
    main([*asked, "--resume"])
    assert capsys.readouterr().out == told
