"""The README's table of kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from algos.kernels import KERNELS
from reports.gpu import kernel_table
from workloads.errors import InputError


def test_the_readme_has_the_table_of_today() -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
    assert kernel_table.table_in(text) == kernel_table.markdown_table(), kernel_table.RENEW


def test_a_row_says_language_source_times() -> None:
    rows = kernel_table.markdown_table().splitlines()
    assert len(rows) == 2 + len(KERNELS)
    topk = next(row for row in rows if row.startswith("| `topk-select`"))
    assert "| CUDA C++ |" in topk
    assert topk.endswith(" | - |")  # no dense kernel does the same work
    decode = next(row for row in rows if row.startswith("| `bitmap-decode`"))
    assert "| Triton |" in decode
    assert "| `dense-decode` " in decode


def test_marks_are_needed(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no table")
    with pytest.raises(InputError, match="must hold <!-- kernels -->"):
        kernel_table.write_table(tmp_path / "README.md")
