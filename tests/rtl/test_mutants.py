"""The benches find faults: each mutant in a copy of the package fails a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtl.registry import BLOCKS
from tests.rtl.mutants import MUTANTS, Mutant

NAMES = [mutant.name for mutant in MUTANTS]


def test_every_block_has_a_mutant() -> None:
    assert {mutant.block for mutant in MUTANTS} == set(BLOCKS)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_original_stands_once(mutant: Mutant, root: Path) -> None:
    assert (root / mutant.file).read_text("utf-8").count(mutant.original) == 1
    assert mutant.original != mutant.replacement


@pytest.mark.slow
@pytest.mark.rtl
@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_bench_finds_it(mutant: Mutant, root: Path, tmp_path: Path) -> None:
    for package in ("workloads", "sim", "rtl", "reports"):
        shutil.copytree(
            root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    file = tmp_path / mutant.file
    text = file.read_text("utf-8")
    file.write_text(text.replace(mutant.original, mutant.replacement), "utf-8")
    settings = [f"--set={name}={value}" for name, value in mutant.settings.items()]
    done = subprocess.run(
        [sys.executable, "-m", "reports.cli", "rtl", "verify", mutant.block, *settings, "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert not all(test["passed"] for test in json.loads(done.stdout))
