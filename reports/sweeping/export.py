"""All points as tables: points.csv, points.parquet; and the space as TOML."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.sweeping import groups
from reports.sweeping.read import SweepData
from reports.sweeping.rerun import SPACE_FILE, as_toml

AXIS = "axis."
COLUMNS = {
    "number": "place of the point in the space",
    "status": "done, failed, or pruned: left out by its bounds",
    "feasible": "true: it has run and is within all constraints",
    "front": "true: no other feasible point is nowhere worse and somewhere better; of its group, "
    "where there are groups",
    "group": "what points are compared within, where `within` tells groups apart",
    "reason": "why it failed or was left out",
    "seconds": "time that the point took to run",
    "trace": "key of its trace, traces/KEY.trace",
    f"{AXIS}NAME": "value of an axis; empty: it does not take part",
}
"""Columns before those of the result row."""


def all_points(data: SweepData) -> pd.DataFrame:
    """Return a row a point: status, axes, and the columns of the result row."""
    known = data.points[["status", "reason", "seconds", "trace"]].copy()
    known.insert(1, "feasible", data.feasible)
    known.insert(2, "front", data.front)
    if data.grouped:
        known.insert(3, "group", data.group.map(lambda place: groups.text(data, place)))
    axes = data.axes.map(lambda value: value, na_action="ignore").infer_objects()
    for name in axes:
        kinds = set(axes[name].dropna().map(type))
        if len(kinds) > 1 and not kinds <= {int, float}:  # a column of a file has one type
            axes[name] = axes[name].map(str, na_action="ignore")
    return pd.concat([known, axes.add_prefix(AXIS), data.rows], axis=1).reset_index()


def write_tables(data: SweepData) -> list[Path]:
    """Write `points.csv`, `points.parquet` and `sweep.toml`; return their paths."""
    table = all_points(data)
    csv, parquet = data.folder / "points.csv", data.folder / "points.parquet"
    table.to_csv(csv, index=False)
    table.to_parquet(parquet)
    space = data.folder / SPACE_FILE
    space.write_text(as_toml(data.space), encoding="utf-8")
    return [csv, parquet, space]
