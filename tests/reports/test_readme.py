"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from algos import METHODS
from algos.kernels import KERNELS
from rtl.registry import BLOCKS
from sim.machines import MACHINES
from workloads.tasks import WORKLOADS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_snippets_run() -> None:
    """One after another: the second uses what the first imports."""
    snippet = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[0]) > 0


@pytest.mark.parametrize("name", [*METHODS, *MACHINES, *WORKLOADS, *BLOCKS, *KERNELS])
def test_everything_is_listed(name: str) -> None:
    assert f"`{name}`" in README


def test_commands_exist() -> None:
    from reports.cli import app

    known = {command.callback.__name__.rstrip("_") for command in app.registered_commands}  # type: ignore[union-attr]
    known |= {str(group.name) for group in app.registered_groups}
    used = set(re.findall(r"prunesim ([a-z]+)", README)) - {"runs"}
    assert used <= known
