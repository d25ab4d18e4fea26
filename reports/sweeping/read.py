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
from sim.sweep.axes import Value
from sim.sweep.evaluate import DETAILS
from sim.sweep.point import Point, point_of
from sim.sweep.space import KINDS, Space
from sim.sweep.store import Store
from workloads.errors import InputError

Group = tuple[Value, ...]
"""Values that points are compared within; empty: all with all."""

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

    def groups_by(self, names: Iterable[str]) -> list[Group]:
        """Return the values of each point at names of axes, of what they set, or of the space."""
        wanted = list(names)
        named = (self.space.named(given) for given in self.points["assignment"])
        return [tuple(own.get(name) for name in wanted) for own in named]

    @cached_property
    def groups(self) -> list[Group]:
        """Return the groups that points are compared within, in order; one: all with all."""
        found = dict.fromkeys(self.groups_by(self.space.within))
        columns = [in_order(values) for values in zip(*found, strict=True)]
        places = [{value: at for at, value in enumerate(values)} for values in columns]
        return sorted(found, key=lambda own: [p[v] for p, v in zip(places, own, strict=True)])

    @cached_property
    def group(self) -> pd.Series:
        """Return the place of each point's group among `groups`."""
        places = {group: at for at, group in enumerate(self.groups)}
        found = [places[group] for group in self.groups_by(self.space.within)]
        return pd.Series(found, index=self.points.index, dtype=int)

    @property
    def grouped(self) -> bool:
        """Whether there is more than one front."""
        return len(self.groups) > 1

    @cached_property
    def front(self) -> pd.Series:
        """Return which feasible points no other feasible point of their group dominates."""
        mask = pd.Series(False, index=self.points.index)
        own = self.rows[self.feasible]
        if len(own):
            groups = self.group[own.index].tolist()
            mask[own.index[on_front(costs(own, self.objectives), groups)]] = True
        return mask

    @cached_property
    def on_front(self) -> pd.DataFrame:
        """Return the rows of the front, by group and by the first objective."""
        own = self.rows[self.front]
        order = np.lexsort([*costs(own, self.objectives).T[::-1], self.group[own.index]])
        return own.iloc[order]

    def fronts(self) -> dict[int, pd.DataFrame]:
        """Return the rows of the front of each group that has one, by its place in `groups`."""
        own = self.on_front
        return {int(str(at)): rows for at, rows in own.groupby(self.group[own.index])}

    @cached_property
    def shown(self) -> list[int]:
        """Return the numbers of the points that figures show, at most `SHOWN` of the front."""
        return self.chosen(SHOWN)

    def chosen(self, count: int) -> list[int]:
        """Return the numbers of at most so many points of the front, of every group in turn."""
        own = self.on_front
        groups = self.group[own.index].tolist()
        return [int(own.index[at]) for at in chosen(costs(own, self.objectives), count, groups)]

    @cached_property
    def standing_for(self) -> dict[tuple[str, str], int]:
        """Return for each (machine, method) the point nearest to the best of all objectives.

        Near is judged within the point's group: between groups the nearest would always be of that
        which is best of itself.
        """
        own = self.rows[self.feasible if self.feasible.any() else self.done]
        if own.empty:
            return {}
        far = pd.Series(0.0, index=own.index)
        for _, rows in own.groupby(self.group[own.index]):
            far[rows.index] = distances(costs(rows, self.objectives))
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
        return _short([*self.axes])

    @cached_property
    def within(self) -> list[str]:
        """Return the short names of what groups are told apart by."""
        names = list(dict.fromkeys([*self.axes, *self.space.within]))
        short = self.short | {n: t for n, t in _short(names).items() if n not in self.short}
        return [short[name] for name in self.space.within]

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


def in_order(values: Iterable[Value]) -> list[Value]:
    """Return values once: numbers in order, others as they come; None, no value, is the last."""
    found = dict.fromkeys(values)
    known = [value for value in found if value is not None]
    numbers = [v for v in known if isinstance(v, int | float) and not isinstance(v, bool)]
    ordered: list[Value] = [*sorted(numbers)] if len(numbers) == len(known) else known
    return [*ordered, None] if None in found else ordered


def _short(names: list[str]) -> dict[str, str]:
    last = {name: ".".join(name.split(".")[-2:]) for name in names}
    for kind in KINDS:
        last = {name: text.removeprefix(f"{kind}.") for name, text in last.items()}
    taken = list(last.values())
    return {name: last[name] if taken.count(last[name]) == 1 else name for name in names}


def is_sweep(folder: Path) -> bool:
    """Tell whether a folder holds a sweep."""
    from sim.sweep.store import FILE

    return (folder / FILE).is_file()
