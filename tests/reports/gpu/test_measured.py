"""Rows of benches as a frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.gpu.measured import CPU_COLUMNS, GPU_COLUMNS, measured_rows, read_measured
from workloads.errors import InputError


def test_an_empty_folder_has_all_columns(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        frame = read_measured(folder)
        assert list(frame) == list(GPU_COLUMNS)
        assert len(frame) == 0
        assert measured_rows(folder) == []


def test_jsonl_and_parquet(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    (tmp_path / "kernels.json").write_text("{}")  # the record is no bench
    ceilings = {"key": "ceilings", "status": "measured", "copy_bytes_per_s": 1e12}
    lines = [json.dumps(row) for row in (ceilings, {**rows[0], "median_ns": 1.0}, *rows[:2])]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    pd.DataFrame(rows[2:]).to_parquet(tmp_path / "b.parquet")
    frame = read_measured(tmp_path)
    assert frame["median_ns"].tolist() == [row["median_ns"] for row in rows]  # the last of a key
    assert frame["share"].notna().sum() == 4
    found = measured_rows(tmp_path)
    assert found[0]["share"] is None
    assert found[0]["driver"] is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"key": "a"}\n', "must have rows with kernel, status"),
        ("a.jsonl", "[]\n", "line 1 must be a JSON object with a key"),
        ("a.parquet", "nonsense", "must be a complete Parquet file"),
    ],
)
def test_what_is_no_row(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_measured(tmp_path)


def test_committed_rows_can_be_read() -> None:
    assert list(read_measured()) == list(GPU_COLUMNS)
    for columns in (GPU_COLUMNS, CPU_COLUMNS):
        assert all(columns.values())
