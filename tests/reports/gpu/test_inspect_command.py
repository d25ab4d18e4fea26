"""`prunesim kernels inspect` and `prunesim list kernels`; every kernel keeps its promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from algos.kernels import KERNELS, make_kernel
from algos.kernels.inspection import Item, Row, paper_items
from reports.cli import app
from reports.gpu import inspecting
from workloads.gpu_launch import TARGETS

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


@needs_triton
def test_all_kernels_keep_their_promises(root: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "reports.cli", "kernels", "inspect", "--all", "--json"],
        cwd=root,
        env={**os.environ, "TRITON_INTERPRET": "1"},  # the command must compile all the same
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(run.stdout or "{}")
    assert run.returncode == 0, found.get("broken") or run.stderr
    wanted = [
        (item.kernel, item.shape, item.program.function, item.target)
        for item in paper_items(KERNELS, TARGETS)
    ]
    rows = found["programs"]
    got = [(row["kernel"], row["shape"], row["function"], row["target"]) for row in rows]
    assert got == wanted
    assert all(row["kept"] for row in rows if row["language"] == "triton" or found["tools"]["nvcc"])


def rows(**facts: object) -> list[Row]:
    item = paper_items(["dense-prefill"], ["sm_90"])[0]
    known: dict[str, object] = {
        **{"kernel": item.kernel, "shape": item.shape, "function": item.program.function},
        **{"target": "sm_90", "language": "triton", "warps": 8, "compiled": True},
    }
    return [Row(**{**known, **facts})]  # type: ignore[arg-type]


def invoke(monkeypatch: pytest.MonkeyPatch, made: list[Row], *arguments: str) -> tuple[int, str]:
    def instead(items: list[Item], jobs: int) -> list[Row]:
        assert items
        assert jobs >= 1
        return made

    monkeypatch.setattr(inspecting, "inspect_apart", instead)
    result = CliRunner().invoke(app, ["kernels", "inspect", *arguments])
    return result.exit_code, result.stdout + result.stderr


def test_a_broken_promise_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    made = rows(registers=99, broken=("it must not spill, it does",))
    code, said = invoke(monkeypatch, made, "--all")
    assert code == 1
    assert "it must not spill, it does\n0 of 1 programs keep their promises" in said
    code, said = invoke(monkeypatch, made, "--all", "--json")
    assert code == 1
    assert json.loads(said)["broken"] == ["it must not spill, it does"]


def test_what_is_not_compiled_is_shown_and_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    made = rows(registers=99) + rows(compiled=False, language="cuda", reason="nvcc is missing")
    code, said = invoke(monkeypatch, made, "dense-prefill")
    assert code == 0
    assert "not compiled" in said
    assert "nvcc is missing\n1 of 2 programs keep" in said


def test_no_compiler_at_all_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    made = rows(compiled=False, reason="it must have Triton, it is missing")
    assert invoke(monkeypatch, made, "--all") == (
        2,
        "prunesim: it must have Triton, it is missing\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dense-prefil"], "did you mean 'dense-prefill'?"),
        ([], "kernels must be named, or --all given, and not both"),
        (["dense-prefill", "--all"], "kernels must be named, or --all given, and not both"),
        (["--all", "--target", "sm_8"], "target must be one of sm_80, sm_90, not 'sm_8'"),
    ],
)
def test_bad_input(monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str) -> None:
    code, output = invoke(monkeypatch, [], *arguments)
    assert code == 2
    assert output.startswith("prunesim: ")
    assert output.count("\n") == 1
    assert said in output


def test_list() -> None:
    result = CliRunner().invoke(app, ["list", "kernels", "--json"])
    found = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert list(found) == list(KERNELS)
    for name, entry in found.items():
        kernel = make_kernel(name)
        assert entry["description"] == kernel.title
        assert list(entry["papers"]) == list(kernel.papers)
        assert {row["function"] for row in entry["compiled"]} == set(kernel.promises)
    shown = CliRunner().invoke(app, ["list", "kernels"]).stdout
    assert all(name in shown for name in KERNELS)
