"""Run one machine point: the flat row and, in short, the long tables of its result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from sim.machines.base import BareMachine
from sim.result import Result
from sim.run import simulate
from workloads.errors import InputError
from workloads.trace import Trace, read_trace

LEFT_OUT = ("config", "parameters", "dram_reads_per_channel")
"""Columns of a row that its configuration, kept beside, says already, or that are lists."""
DETAILS = {
    "units": ("unit", "state", "cycles"),
    "energy": ("component", "group", "energy_pj"),
    "area": ("component", "group", "area_mm2"),
    "traffic": ("tensor", "plane", "transferred_bytes"),
    "sparsity": ("kind", "quantity", "dense", "offered", "exploited"),
}
"""Columns of the long tables that are kept of every point."""


class Evaluated(NamedTuple):
    """What a worker sends back."""

    row: dict[str, Any]
    detail: dict[str, dict[str, list[Any]]]
    failure: str | None  # an objective that is no number


def evaluate(trace: Path, machine: BareMachine, wanted: Sequence[str]) -> Evaluated:
    """Run a machine on a trace.

    Args:
        trace: its folder; a worker keeps the last ones it has read.
        machine: its configuration.
        wanted: columns that must be finite numbers.

    Raises:
        InputError: the trace cannot be read, or the machine cannot hold it.
    """
    result = simulate(read_once(trace), machine, 0)
    row = {name: _plain(value) for name, value in result.row.items() if name not in LEFT_OUT}
    return Evaluated(row, details(result), not_a_number(row, wanted))


@lru_cache(maxsize=4)
def read_once(path: Path) -> Trace:
    """Return the trace of a folder; the last ones are kept."""
    return read_trace(path)


def details(result: Result) -> dict[str, dict[str, list[Any]]]:
    """Return the columns of `DETAILS` as plain lists."""
    return {
        name: {column: result.tables[name][column].tolist() for column in columns}
        for name, columns in DETAILS.items()
    }


def not_a_number(row: Mapping[str, Any], wanted: Sequence[str]) -> str | None:
    """Return why a row cannot be judged, in one sentence; None: it can."""
    for name in wanted:
        if name not in row:
            there = [column for column in row if column.startswith("accuracy_")]
            raise InputError(
                f"{name} must be measured on {row['workload']}, "
                f"which has {', '.join(there) or 'no accuracy'}"
            )
        value = row[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            shown = "missing" if value is None else f"{value}"
            return f"{name} must be a finite number to be judged, on {row['machine']} it is {shown}"
    return None


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
