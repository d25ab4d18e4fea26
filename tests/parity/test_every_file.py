"""No output of an authors' program is left unread."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.parity.conftest import SHARED


@pytest.mark.fidelity
def test_every_file_has_a_test() -> None:
    files = sorted(path.stem for path in (SHARED / "parity").glob("*.npz"))
    if not files:
        pytest.skip(f"{SHARED}/parity is not there: the authors' outputs are not in the project")
    read: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        tree = ast.parse(path.read_text())
        read |= {str(n.value) for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert [name for name in files if name not in read] == []
