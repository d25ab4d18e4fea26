"""`prunesim kernels inspect`: what the compiled kernels need of a GPU, as a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from algos.kernels import KERNELS
from algos.kernels.inspection import (
    Row,
    check_names,
    check_target,
    inspect_apart,
    paper_items,
    tools,
)
from reports.console import Phases, print_json, print_line, print_table
from reports.summary import TextTable
from workloads.errors import InputError
from workloads.gpu_launch import TARGETS

COLUMNS = (
    *("kernel", "shape", "function", "target", "registers", "spilled B", "shared B", "warps"),
    *("blocks/SM", "occupancy", "instructions", "promise"),
)
NUMERIC = tuple(4 <= place < 10 for place in range(len(COLUMNS)))


def run_inspection(
    names: Sequence[str], every: bool, target: str | None, *, visible: bool
) -> list[Row]:
    """Compile the programs of the paper shapes of kernels and judge them.

    Raises:
        InputError: no or an unknown name, an unknown target, or no compiler for any of them.
    """
    if every == bool(names):
        raise InputError("kernels must be named, or --all given, and not both")
    check_names(names)
    if target is not None:
        check_target(target)
    items = paper_items(KERNELS if every else names, [target] if target else TARGETS)
    rows = []
    with Phases(visible) as phase, phase(f"compile {len(items)} programs") as update:
        for row in inspect_apart(items, os.cpu_count() or 1):
            rows.append(row)
            update(len(rows), len(items))
    if not any(row.compiled or row.broken for row in rows):
        raise InputError(rows[0].reason)
    return rows


def show_inspection(rows: list[Row], *, as_json: bool) -> bool:
    """Print the table, a sentence for each broken promise; tell whether none is broken."""
    broken = [sentence for row in rows for sentence in row.broken]
    missing = {row.reason: 0 for row in rows if row.reason}
    if as_json:
        programs = [{**asdict(row), "kept": row.kept} for row in rows]
        print_json({"tools": tools(), "programs": programs, "broken": broken})
        return not broken
    print_table(table(rows))
    for sentence in (*broken, *missing):
        print_line(sentence)
    print_line(f"{sum(row.kept for row in rows)} of {len(rows)} programs keep their promises")
    return not broken


def table(rows: list[Row]) -> TextTable:
    """Return a line for each program."""
    return TextTable([*COLUMNS], [_line(row) for row in rows], [*NUMERIC])


def _line(row: Row) -> list[str]:
    numbers: list[Any] = ["-", "-", "-", row.warps, "-", "-", "-"]
    if row.compiled:
        numbers = [
            *(row.registers, row.spilled_bytes, row.shared_bytes, row.warps, row.blocks_per_sm),
            *(f"{row.occupancy_share:.0%}", " ".join(row.instructions) or "-"),
        ]
    said = "kept" if row.kept else "broken" if row.broken else "not compiled"
    return [row.kernel, row.shape, row.function, row.target, *map(str, numbers), said]
