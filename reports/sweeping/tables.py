"""What a sweep's page says in words and small tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import words
from reports.catalog import describe_machine
from reports.summary import TextTable, flatten
from reports.sweeping import groups
from reports.sweeping.columns import Column, best_title, columns, label, value_text
from reports.sweeping.front import best, costs, knee
from reports.sweeping.read import SHOWN, SweepData
from reports.sweeping.rerun import point_command
from sim.machines import make_machine
from workloads.errors import InputError

FRONT_ROWS = 100  # of the table of the front; all points stand in points.csv
_TOGETHER = "\N{NO-BREAK SPACE}"
_NUMBER = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class BestPoint:
    """A point worth naming."""

    title: str
    value: str
    number: int
    where: list[tuple[str, str]]  # its axes and their values


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and the number that it is sorted by."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Reason:
    """Points that did not run for one reason."""

    count: int
    text: str
    example: str
    command: str  # that runs the example alone; empty: its trace could not be made


def headline(data: SweepData) -> str:
    """Say what was varied, how many points ran, and how many are worth having."""
    names = words.join([data.short[name] for name in data.varied]) or "nothing"
    ran, total = int(data.done.sum()), len(data.points)
    text = f"{data.space.title}: {total:,} points over {names}"
    if ran < total:
        parts = []
        for status, word in (("failed", "failed"), ("pruned", "left out by their bounds")):
            count = int((data.points["status"] == status).sum())
            if count:
                parts.append(f"{count:,} {word}")
        text += f", {ran:,} of them ran, {words.join(parts)}"
    if not ran:
        return text + "."
    front = int(data.front.sum())
    if len(data.fronts()) > 1:
        return (
            f"{text}; {front:,} are on {len(data.fronts()):,} Pareto fronts, "
            f"one for each {groups.title(data)}."
        )
    return f"{text}; {front:,} {'is' if front == 1 else 'are'} on the Pareto front."


def constraints_line(data: SweepData) -> str:
    """Say what a point must be within, and how many are; empty without constraints."""
    if not data.space.constraints:
        return ""
    known = columns(data)
    parts = []
    for name, bounds in data.space.constraints.items():
        column = known[name]
        if bounds.min is not None and bounds.max is not None:
            span = f"from {column.text(bounds.min)} to {column.text(bounds.max)}"
        elif bounds.min is not None:
            span = f"at least {column.text(bounds.min)}"
        else:
            span = f"at most {column.text(bounds.max)}"
        parts.append(f"{column.label} {span}")
    own = f"{int(data.feasible.sum()):,} of {int(data.done.sum()):,}"
    return f"Feasible is {words.join(parts)}: {own} points that ran are."


def objectives_line(data: SweepData) -> str:
    """Say what is wanted."""
    parts = [
        f"{'low' if way == 'min' else 'high'} {label(name)}"
        for name, way in data.objectives.items()
    ]
    return f"Wanted: {words.join(parts)}."


def best_points(data: SweepData) -> list[BestPoint]:
    """Return the best feasible point of each objective, and the knee; of groups the knees."""
    own = data.on_front
    if own.empty:
        return []
    if data.grouped:
        return _knees(data)
    known, values = columns(data), costs(own, data.objectives)
    found = []
    for at, (name, way) in enumerate(data.objectives.items()):
        row = own.iloc[best(values, at)]
        number = int(str(row.name))
        value = known[name].text(row[name])
        found.append(BestPoint(best_title(name, way), value, number, settings(data, number)))
    if len(data.objectives) > 1:
        number = int(own.index[knee(values)])
        found.append(BestPoint("Knee", _two(data, number), number, settings(data, number)))
    return found


def _knees(data: SweepData) -> list[BestPoint]:
    """Return the knee of each group's front; of too many groups an even spread."""
    fronts = list(data.fronts().items())
    found = []
    for place, own in (fronts[at] for at in groups.spread(len(fronts), groups.NAMED)):
        number = int(own.index[knee(costs(own, data.objectives))])
        where = [pair for pair in settings(data, number) if pair[0] not in data.within]
        found.append(BestPoint(groups.text(data, place), _two(data, number), number, where))
    return found


def _two(data: SweepData, number: int) -> str:
    """Return the first two objectives of a point."""
    known = columns(data)
    names = list(data.objectives)[:2]
    texts = [known[name].text(data.rows.at[number, name]) for name in names]
    return " · ".join(text.replace(" ", _TOGETHER) for text in texts).replace(" ·", f"{_TOGETHER}·")


def best_line(data: SweepData) -> str:
    """Say what the front and the knee are."""
    knee_line = (
        "The knee is the point of the front nearest to the best of every objective at once, each "
        "scaled from its best to its worst on the front."
    )
    if not data.grouped:
        return (
            "On the Pareto front no other feasible point is nowhere worse and somewhere better. "
            + knee_line
        )
    name, count = groups.title(data), len(data.fronts())
    shown = (
        "the knee of each front"
        if count <= groups.NAMED
        else (f"the knees of {groups.NAMED} of {count:,} fronts")
    )
    return (
        f"Points are compared with those of the same {name}: each {name} has a front, on which no "
        f"other feasible point of it is nowhere worse and somewhere better. Above: {shown}. "
        + knee_line
    )


def groups_table(data: SweepData) -> TextTable | None:
    """Return a line a group: its points, the best of each objective, the knee; None: one group."""
    if not data.grouped:
        return None
    known, fronts = columns(data), data.fronts()
    own = [known[name] for name in data.objectives]
    lines = []
    for place, group in enumerate(data.groups):
        mine = data.group == place
        counts = [mine.sum(), (mine & data.feasible).sum(), (mine & data.front).sum()]
        line = [*map(value_text, group), *(f"{count:,}" for count in counts)]
        rows = fronts.get(place)
        if rows is None:
            lines.append([*line, *["-"] * (len(own) + 1)])
            continue
        values = costs(rows, data.objectives)
        for at, column in enumerate(own):
            row = rows.iloc[best(values, at)]
            line.append(f"{_amount(column, float(row[column.name]))} (#{row.name})")
        lines.append([*line, f"#{rows.index[knee(values)]}"])
    names = [*data.within, "points", "feasible", "on the front"]
    names += [f"best {column.title}" for column in own] + ["knee"]
    return TextTable(names, lines, [*(False for _ in data.within), *[True] * (len(own) + 4)])


def settings(data: SweepData, number: int) -> list[tuple[str, str]]:
    """Return the axes of a point, by short names, and their values."""
    own = data.assignment(number)
    return [(data.short[name], value_text(value)) for name, value in own.items()]


def where(data: SweepData, number: int) -> str:
    """Return the axes of a point in one line."""
    return ", ".join(f"{name} = {value}" for name, value in settings(data, number))


def front_table(data: SweepData, numbers: Iterable[int]) -> tuple[list[str], list[list[Cell]]]:
    """Return names of columns and a row a point: number, group, objectives, axes."""
    known = columns(data)
    own = [known[name] for name in data.objectives]
    axes = [name for name in data.axes if not data.grouped or name not in data.space.within]
    within = data.within if data.grouped else []
    names = ["point", *within, *(column.title for column in own), *(data.short[a] for a in axes)]
    return names, [_front_row(data, number, own, axes) for number in numbers]


def _front_row(data: SweepData, number: int, own: list[Column], axes: list[str]) -> list[Cell]:
    cells = [Cell(f"#{number}", number)]
    if data.grouped:
        cells += map(_cell, data.groups[data.group[number]])
    for column in own:
        value = float(data.rows.at[number, column.name])
        cells.append(Cell(_amount(column, value), value))
    return [*cells, *(_cell(data.axes.at[number, name]) for name in axes)]


def _cell(value: Any) -> Cell:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(value_text(value), float(value) if numeric else None)


def shown_line(data: SweepData) -> str:
    """Say which points of the front are shown."""
    front, shown, count = int(data.front.sum()), len(data.shown), len(data.fronts())
    if shown == front:
        return f"All points of the {'fronts' if count > 1 else 'front'} are shown below."
    if count == 1:
        return (
            f"Of {front:,} points on the front these {shown} are shown below: the best of each "
            "objective, the knee, and an even spread along the first objective."
        )
    which = (
        "of each in turn, first the knee, then the best of each objective"
        if count <= SHOWN
        else "the knees of an even spread of the fronts"
    )
    return f"Of {front:,} points on {count:,} fronts these {shown} are shown below: {which}."


def _amount(column: Column, value: float) -> str:
    if column.name.startswith("accuracy_"):
        return f"{value:.4f}"
    return words.number(value / column.factor, 4)


def not_run(data: SweepData, status: str) -> list[Reason]:
    """Return why points failed or were left out, most frequent first.

    Reasons that differ in nothing but numbers are one.
    """
    own = data.points[data.points["status"] == status]
    groups = own.groupby(own["reason"].fillna("").map(_pattern), sort=False)
    found = []
    for _, points in groups:
        number = int(points.index[0])
        example = f"#{number}: {where(data, number)}"
        text = str(points["reason"].iloc[0] or "no reason is kept")
        trace = data.traces.get(str(data.points.at[number, "trace"]), {})
        command = point_command(data, number) if trace.get("status") == "done" else ""
        found.append(Reason(len(points), text, example, command))
    return sorted(found, key=lambda reason: -reason.count)


def _pattern(reason: str) -> str:
    return _NUMBER.sub("N", reason)


def badges(data: SweepData) -> list[tuple[str, str]]:
    """Return what a reader must know before believing a number: (badge, meaning)."""
    rows = data.rows[data.done]
    found = []
    if len(rows) and rows["synthetic"].astype(bool).any():
        assumed = rows.loc[rows["synthetic"].astype(bool), "workload"]
        names = words.join(list(dict.fromkeys(assumed)))
        found.append(("synthetic", f"the sparsity of {names} was assumed, not measured on a model"))
    drawn = sorted(set(rows.loc[rows["topk_data"] == "drawn", "machine"])) if len(rows) else []
    if drawn:
        text = f"top-k engines of {words.join(drawn)} saw seeded random ranks, not recorded scores"
        found.append(("drawn top-k data", text))
    for machine, ideal in ideals(data).items():
        found.append(("idealised", f"{machine}: {ideal}"))
    return found


def ideals(data: SweepData) -> dict[str, str]:
    """Return the idealised parts of each machine that has any."""
    rows = data.rows[data.done]
    found: dict[str, str] = {}
    for machine, own in rows.groupby("machine", sort=False) if len(rows) else ():
        names = sorted({n for text in own["ideal"] for n in str(text or "").split(",") if n})
        if names:
            found[str(machine)] = ", ".join(names)
    return found


def machines(data: SweepData) -> list[dict[str, Any]]:
    """Return name, description, fidelity and number of points of each machine that ran."""
    rows = data.rows[data.done]
    parts = ideals(data)
    found = []
    for name, own in rows.groupby("machine", sort=False) if len(rows) else ():
        try:
            point = data.point(int(own.index[0]))
            fixed = {n: v for n, v in data.space.set.items() if n.startswith("machine.")}
            plain = {n.removeprefix("machine."): v for n, v in fixed.items()}
            about = describe_machine(make_machine(point.machine, plain))
        except InputError:  # its TOML file has moved since
            about = {"description": "", "fidelity": ["Its file is no longer there."]}
        found.append(
            {
                "name": str(name),
                "points": len(own),
                "description": about["description"],
                "fidelity": list(about["fidelity"]),
                "ideal": parts.get(str(name), ""),
            }
        )
    return found


def traces_table(data: SweepData) -> tuple[TextTable, str]:
    """Return a line a trace, and what is the same of all.

    A line says what the trace is of, how long it took, and how many points use it.
    """
    uses = data.points["trace"].value_counts()
    used = dict.fromkeys(data.points["trace"])
    found = {key: data.traces[key] for key in used if key in data.traces}
    about = {key: _description(trace["description"]) for key, trace in found.items()}
    same = set.intersection(*(set(own.items()) for own in about.values())) if about else set()
    lines = []
    for key, trace in found.items():
        own = dict(about[key])
        names = [own.pop(name, "-") for name in ("workload", "method")]
        text = ", ".join(f"{n} = {v}" for n, v in own.items() if (n, v) not in same)
        took = words.duration(1e9 * trace["seconds"]) if trace["status"] == "done" else "failed"
        lines.append([key[:12], *names, text or "-", took, f"{uses[key]:,}"])
    names = ["trace", "workload", "method", "parameters that differ", "time", "points"]
    shared = [f"{n} = {v}" for n, v in sorted(same) if n not in ("workload", "method")]
    return TextTable(names, lines, [False, False, False, False, True, True]), ", ".join(shared)


def _description(description: Any) -> dict[str, str]:
    """Return what a trace is of as flat texts."""
    about = {n: v for n, v in dict(description).items() if v is not None and n != "content"}
    parameters = about.pop("parameters", None) or {}
    if "trace" in about:
        about["workload"] = about.pop("trace")
    inner = {**(about.pop("fields", None) or {}), **parameters}
    given = {n: v or "(empty)" for n, v in flatten(inner) if v != "None"}
    return {n: str(v) for n, v in about.items()} | given


def facts(data: SweepData) -> list[tuple[str, str]]:
    """Return where, when and how fast the sweep was made, as far as it is known."""
    rows = data.rows[data.done]
    found = [("points", f"{len(data.points):,}"), ("code", str(data.about.get("code")))]
    if "prunesim_version" in rows and len(rows):
        found.append(("prunesim", words.join(sorted(set(rows["prunesim_version"])))))
    seconds = pd.to_numeric(data.points["seconds"]).sum()
    found.append(("time of all points", f"{seconds:.1f} s, one after another"))
    made = data.about.get("made") or {}
    found += [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in made.items()
    ]
    return found
