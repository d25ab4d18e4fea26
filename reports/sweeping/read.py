"""A sweep as reports see it: axes, rows, what is feasible, what is on the front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.sweeping.front import chosen, costs, distances, on_front
from sim.sweep.evaluate import DETAILS
from sim.sweep.point import Point, point_of
from sim.sweep.space import Space
from sim.sweep.store import Store
from workloads.errors import InputError

SHOWN = 12  # points of the front that figures show
_COLUMNS = {
    "key": object,
    "status": object,
    "reason": object,
    "trace": object,
    "seconds": float,
    "assignment": object,
}


@dataclass(frozen=True)
class SweepData:
    """All points of a sweep. The frames have the points as their rows, by number."""

    folder: Path
    space: Space
    points: pd.DataFrame
    """columns key, status, reason, trace, seconds, assignment"""
    axes: pd.DataFrame
    """a column an axis; None: the axis does not take part in the point"""
    rows: pd.DataFrame
    """columns of the result rows; empty where a point has not run"""
    traces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    """code version, and how the sweep was made where that is known"""

    @property
    def objectives(self) -> dict[str, str]:
        return dict(self.space.objectives)

    @cached_property
    def done(self) -> pd.Series:
        return self.points["status"] == "done"

    @cached_property
    def feasible(self) -> pd.Series:
        """Return which points have run and are within all constraints."""
        inside = self.done.copy()
        for name, bounds in self.space.constraints.items():
            if bounds.min is not None:
                inside &= self.rows[name] >= bounds.min
            if bounds.max is not None:
                inside &= self.rows[name] <= bounds.max
        return inside

    @cached_property
    def front(self) -> pd.Series:
        """Return which feasible points no other feasible point dominates."""
        mask = pd.Series(False, index=self.points.index)
        own = self.rows[self.feasible]
        if len(own):
            mask[own.index[on_front(costs(own, self.objectives))]] = True
        return mask

    @cached_property
    def on_front(self) -> pd.DataFrame:
        """Return the rows of the front, by the first objective."""
        own = self.rows[self.front]
        order = np.lexsort(costs(own, self.objectives).T[::-1])
        return own.iloc[order]

    @cached_property
    def shown(self) -> list[int]:
        """Return the numbers of the points that figures show, at most `SHOWN` of the front."""
        own = self.on_front
        return [int(own.index[at]) for at in chosen(costs(own, self.objectives), SHOWN)]

    @cached_property
    def standing_for(self) -> dict[tuple[str, str], int]:
        """Return for each (machine, method) the point nearest to the best of all objectives."""
        own = self.rows[self.feasible if self.feasible.any() else self.done]
        if own.empty:
            return {}
        far = pd.Series(distances(costs(own, self.objectives)), index=own.index)
        nearest = far.groupby([own["machine"], own["method"]], sort=False).idxmin()
        return {(str(pair[0]), str(pair[1])): int(at) for pair, at in nearest.items()}

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the long tables of `shown` and `standing_for`."""
        return self.details(dict.fromkeys([*self.shown, *self.standing_for.values()]))

    @cached_property
    def varied(self) -> list[str]:
        """Return the axes that take more than one value."""
        return [name for name in self.axes if self.axes[name].nunique(dropna=False) > 1]

    @cached_property
    def short(self) -> dict[str, str]:
        """Return a short name of each axis, and the whole one where short ones would be alike."""
        names = list(self.axes)
        last = {name: ".".join(name.split(".")[-2:]) for name in names}
        last = {name: last[name].removeprefix("machine.").removeprefix("method.") for name in names}
        taken = list(last.values())
        return {name: last[name] if taken.count(last[name]) == 1 else name for name in names}

    def value(self, number: int, axis: str) -> Any:
        """Return the value of an axis at a point; None: it does not take part."""
        return self.axes.at[number, axis]

    def assignment(self, number: int) -> dict[str, Any]:
        """Return the axes that take part in a point, and their values."""
        return dict(self.points.at[number, "assignment"])

    def point(self, number: int) -> Point:
        """Return the point as a sweep runs it."""
        return point_of(self.space, number, self.assignment(number))

    def details(self, numbers: Iterable[int]) -> dict[str, pd.DataFrame]:
        """Return the long tables of some points, with the point's number in column `number`."""
        parts: dict[str, list[pd.DataFrame]] = {name: [] for name in DETAILS}
        with Store(self.folder, reading=True) as store:
            for number in numbers:
                kept = store.detail(str(self.points.at[number, "key"])) or {}
                for name, columns in kept.items():
                    parts[name].append(pd.DataFrame({"number": number, **columns}))
        return {
            name: pd.concat(found, ignore_index=True)
            if found
            else pd.DataFrame(columns=["number", *DETAILS[name]])
            for name, found in parts.items()
        }


def read_sweep(folder: Path) -> SweepData:
    """Read a sweep's folder.

    Raises:
        InputError: not a sweep's folder, or no point is in it.
    """
    with Store(folder, reading=True) as store:
        plain = store.about("space")
        stored = list(store.points())
        traces = store.traces()
        about = {name: store.about(name) for name in ("code", "made")}
    if plain is None or not stored:
        raise InputError(f"{folder} must hold a sweep with a point, it has none yet")
    space = Space.of(plain)
    numbers = pd.Index([point.number for point in stored], name="number")
    points = pd.DataFrame(
        {
            name: pd.Series([getattr(p, name) for p in stored], index=numbers, dtype=kind)
            for name, kind in _COLUMNS.items()
        }
    )
    axes = pd.DataFrame(
        {
            name: pd.Series([p.assignment.get(name) for p in stored], index=numbers, dtype=object)
            for name in space.axes
        },
        index=numbers,
    )
    rows = pd.DataFrame([point.row or {} for point in stored], index=numbers)
    wanted = [*space.objectives, *space.constraints]
    rows = rows.reindex(columns=list(dict.fromkeys([*rows.columns, *wanted])))
    for name in wanted:
        rows[name] = pd.to_numeric(rows[name], errors="coerce")
    return SweepData(folder, space, points, axes, rows, traces, about)


def is_sweep(folder: Path) -> bool:
    """Tell whether a folder holds a sweep."""
    from sim.sweep.store import FILE

    return (folder / FILE).is_file()
