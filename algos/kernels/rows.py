"""Rows that survive: one JSON object a line, on the disk before the next one is begun."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.errors import InputError

Row = dict[str, Any]


class Rows:
    """A file of rows to append to.

    A row is one write at the end of the file, flushed to the disk; a process that is killed in the
    middle of it leaves a torn last line, which is dropped when the file is opened again.

    Args:
        path: the file; folders are made.
        resume: go on with the rows that are there.

    Raises:
        InputError: rows are there and `resume` is not given, or a line that is no row.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        if path.exists() and path.stat().st_size and not resume:
            raise InputError(f"{path} must not be there, or --resume be given to go on with it")
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        read_rows(path)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; when this returns, it is on the disk."""
        line = json.dumps(row, allow_nan=False) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def last(self) -> dict[str, Row]:
        """Return the last row of each `key`."""
        return {row["key"]: row for row in read_rows(self.path)}


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file in order, without a torn last line; none where there is no file.

    Raises:
        InputError: a line that is no JSON object with a `key`, with its number.
    """
    if not path.exists():
        return []
    lines = path.read_text("utf-8").split("\n")
    found = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or "key" not in row:
            raise InputError(f"{path} line {number} must be a JSON object with a key, it is not")
        found.append(row)
    return found


def _drop_torn_line(path: Path) -> None:
    if path.exists():
        text = path.read_bytes()
        if text and not text.endswith(b"\n"):
            os.truncate(path, text.rfind(b"\n") + 1)
