"""Columns of a sweep as people read them: a name, a unit that suits the values, a text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import words
from reports.sweeping.read import SweepData

_UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "_ns": ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")),
    "_pj": ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ")),
    "_bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "_mm2": ((1.0, "mm²"),),
    "_w": ((1.0, "W"), (1e-3, "mW")),
    "_gops": ((1.0, "Gop/s"),),
    "_gb_per_s": ((1.0, "GB/s"),),
    "_hz": ((1e9, "GHz"), (1e6, "MHz"), (1.0, "Hz")),
}
_NAMES = {
    "latency_ns": "latency",
    "energy_pj": "energy",
    "area_mm2": "area",
    "power_w": "power",
    "dram_transferred_bytes": "DRAM bytes moved",
    "dram_useful_bytes": "DRAM bytes asked for",
    "throughput_gops": "throughput",
    "dram_gb_per_s": "DRAM bandwidth used",
}
_BEST = {"latency_ns": "Fastest", "energy_pj": "Least energy", "area_mm2": "Smallest"}
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Column:
    """A numeric column: a value divided by `factor` is in `unit`."""

    name: str
    label: str
    unit: str
    factor: float

    @property
    def title(self) -> str:
        """Return what an axis of a figure says."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def text(self, value: Any) -> str:
        """Return a value with its unit."""
        if value is None or not math.isfinite(value):
            return "-"
        if self.name.startswith("accuracy_"):
            return f"{value:.4f}".rstrip("0").rstrip(".")
        shown = words.number(value / self.factor) if self.unit else words.count_of(value)
        return f"{shown} {self.unit}".rstrip()


def label(name: str) -> str:
    """Return the name of a column in words."""
    if name.startswith("accuracy_"):
        return words.metric(name)
    return _NAMES.get(name, name.replace("_", " "))


def column(name: str, values: Iterable[float]) -> Column:
    """Return a column with the unit that suits most of its values."""
    sizes = pd.Series(list(values), dtype=float).abs()
    middle = float(sizes[sizes > _SMALLEST].median()) if (sizes > _SMALLEST).any() else 1.0
    units = next((units for end, units in _UNITS.items() if name.endswith(end)), ((1.0, ""),))
    factor, unit = next((pair for pair in units if middle >= pair[0]), units[-1])
    return Column(name, label(name), unit, factor)


def columns(data: SweepData) -> dict[str, Column]:
    """Return the numeric columns worth showing: objectives, constraints, and all that vary."""
    rows = data.rows[data.done]
    found = dict.fromkeys([*data.objectives, *data.space.constraints])
    for name in rows:
        if pd.api.types.is_bool_dtype(rows[name]) or not pd.api.types.is_numeric_dtype(rows[name]):
            continue
        if rows[name].nunique() > 1:
            found[str(name)] = None
    return {name: column(name, rows[name]) for name in found}


def best_title(name: str, way: str) -> str:
    """Return what the best point of an objective is called."""
    if name in _BEST and way == "min":
        return _BEST[name]
    return f"{'Lowest' if way == 'min' else 'Highest'} {label(name)}"


def value_text(value: Any) -> str:
    """Return the value of an axis as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) or "(empty)"
