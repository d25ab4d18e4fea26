"""Two sweeps compared: their fronts over each other, best points, points that both have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports import words
from reports.compare import (
    Comparison,
    Section,
    difference_table,
    field_differences,
    ratio,
    ratio_text,
)
from reports.figures.style import RANDOM, STUDIED, lighter, new_figure, styled, svg
from reports.html import Picture, inline
from reports.summary import Card, TextTable
from reports.sweeping.columns import Column, column, label, value_text
from reports.sweeping.front import best, costs, dominated, on_front, staircase
from reports.sweeping.read import Group, SweepData, read_sweep
from reports.sweeping.tables import where
from workloads.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Fronts = list[pd.DataFrame]  # of A and of B

_RATIO = "B\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}A"
LINES = 30  # of points in a table; all stand in --json
_SAME = 1e-12  # relative: below it a value has not changed
_ROW = ["workload", "machine", "config_hash", "seed", "sequences"]
_TRACE = ["limit", "inputs", "part"]
_IDENTITY = [*_ROW, *_TRACE]  # columns that tell points apart; the code's version is not of them
_PANELS = 3  # beside one another
_INPUTS = ("workload", "limit", "inputs", "part")


def compare_sweeps(a: Path, b: Path) -> Comparison:
    """Compare two sweeps' folders, over the objectives that both have.

    Raises:
        InputError: one is not a sweep's folder, or they have no objective in common.
    """
    one, other = read_sweep(a), read_sweep(b)
    objectives = {
        name: way for name, way in one.objectives.items() if other.objectives.get(name) == way
    }
    if not objectives:
        raise InputError(
            f"two sweeps must share an objective to be compared, {a} has "
            f"{words.join(list(one.objectives))}, {b} {words.join(list(other.objectives))}"
        )
    names, left = _within(one, other)
    groups = [pd.Series(d.groups_by(names), index=d.points.index) for d in (one, other)]
    fronts = [_front(data, objectives, own) for data, own in zip((one, other), groups, strict=True)]
    known = {
        name: column(name, pd.concat([one.rows[name], other.rows[name]])) for name in objectives
    }
    beaten = _beaten(fronts, groups, objectives)
    bests = _bests(fronts, groups, objectives, names)
    both = _both(one, other)
    changed = _changed(one, other, both, list(objectives))
    spaces = field_differences(*(d.space.model_dump(mode="json") for d in (one, other)))
    code = one.about.get("code"), other.about.get("code")
    if code[0] != code[1]:
        spaces.insert(0, {"field": "code version", "a": code[0], "b": code[1]})
    picture = Picture(
        "fronts",
        "The fronts over each other",
        _beaten_text(fronts, beaten),
        "Blue: the front of A; orange: the front of B; pale: their other feasible points. Fronts "
        "are over all objectives that both sweeps have, so in one panel some points may look "
        f"beaten. {_within_text(names, left)}".rstrip(),
        inline(svg(_draw((one, other), fronts, groups, known)).decode(), "fronts"),
    )
    return Comparison(
        folders=(a, b),
        kind="sweeps",
        headline=_headline(one, other, len(both), changed, _beaten_text(fronts, beaten)),
        cards=_cards(bests, known),
        pictures=[picture],
        sections=[
            Section(
                "best",
                "Best points",
                _best_table(one, other, bests, known, names),
                _best_caption(len(bests), _within_text(names, left)),
                "No group has a feasible point in both."
                if names
                else "One of the sweeps has no feasible point.",
            ),
            Section(
                "changed",
                "Points that both have and whose values changed",
                _changed_table(one, changed, known),
                f"{len(both):,} points are in both, by workload, seed, inputs and the whole "
                f"configuration of method and machine. The largest changes, at most {LINES}.",
                f"None of the {len(both):,} points that are in both."
                if len(both)
                else "No point is in both.",
            ),
            Section("spaces", "What differs in the spaces", difference_table(spaces), "", "None."),
        ],
        differences={
            "objectives": objectives,
            "within": names,
            "best": bests,
            "front": {
                side: [int(n) for n in own.index] for side, own in zip("ab", fronts, strict=True)
            },
            "front_beaten": {side: [int(n) for n in own] for side, own in beaten.items()},
            "in_both": len(both),
            "changed": changed,
            "space": spaces,
        },
        inputs_differ=[name for name in _INPUTS if _inputs(one, name) != _inputs(other, name)],
    )


def _inputs(data: SweepData, name: str) -> Any:
    """Return what the sweep was run on: the values of an axis, or the one value."""
    for axis in data.space.axes:
        if name in data.space.axes[axis].fields(axis):
            return {str(value) for value in data.axes[axis]}
    return {str(data.space.fixed.get(name, getattr(data.space, name)))}


def _within(one: SweepData, other: SweepData) -> tuple[list[str], list[str]]:
    """Return what points of both are compared within, and what only one of the sweeps sets.

    A front of one of them alone would compare what its author did not want compared.
    """
    asked = dict.fromkeys([*one.space.within, *other.space.within])
    names = [name for name in asked if all(_sets(data, name) for data in (one, other))]
    return names, [name for name in asked if name not in names]


def _sets(data: SweepData, name: str) -> bool:
    axes = data.space.axes.items()
    return name in data.space.fixed or any(name in (n, *axis.fields(n)) for n, axis in axes)


def _within_text(names: list[str], left: list[str]) -> str:
    text = f"Points are compared with those of the same {words.join(names)}. " if names else ""
    if left:
        text += f"Not within {words.join(left)}, which only one of the sweeps sets."
    return text.rstrip()


def _front(data: SweepData, objectives: dict[str, str], groups: pd.Series) -> pd.DataFrame:
    own = data.rows[data.feasible]
    own = own[on_front(costs(own, objectives), groups[own.index].tolist())]
    return own.iloc[np.lexsort(costs(own, objectives).T[::-1])]


def _by_group(fronts: list[pd.DataFrame], groups: list[pd.Series]) -> dict[Group, Fronts]:
    """Return the rows of both fronts of each group that has two, in the order of A's sweep."""
    parts = [_parts(front, of) for front, of in zip(fronts, groups, strict=True)]
    order = [own for own in dict.fromkeys(groups[0]) if all(own in part for part in parts)]
    return {own: [part[own] for part in parts] for own in order}


def _parts(front: pd.DataFrame, groups: pd.Series) -> dict[Group, pd.DataFrame]:
    """Return the rows of a front by group."""
    found: dict[Group, list[Any]] = {}
    for number in front.index:
        found.setdefault(groups[number], []).append(number)
    return {group: front.loc[numbers] for group, numbers in found.items()}


def _beaten(
    fronts: Fronts, groups: list[pd.Series], objectives: dict[str, str]
) -> dict[str, list[Any]]:
    """Return the numbers of each front's points that the other front has something better for."""
    found: dict[str, set[Any]] = {"a": set(), "b": set()}
    for own in _by_group(fronts, groups).values():
        values = [costs(front, objectives) for front in own]
        for at, side in enumerate("ab"):
            found[side] |= set(own[at].index[dominated(values[at], values[1 - at])])
    return {
        side: [n for n in front.index if n in found[side]]
        for side, front in zip("ab", fronts, strict=True)
    }


def _beaten_text(fronts: list[pd.DataFrame], beaten: dict[str, list[Any]]) -> str:
    return (
        f"B has something better for {len(beaten['a'])} of the {len(fronts[0])} points on A's "
        f"front, A for {len(beaten['b'])} of the {len(fronts[1])} on B's."
    )


def _bests(
    fronts: Fronts, groups: list[pd.Series], objectives: dict[str, str], names: list[str]
) -> list[dict[str, Any]]:
    """Return the best point of each objective, in each group that both have a front of."""
    found = []
    for group, own in _by_group(fronts, groups).items():
        within = {"within": dict(zip(names, group, strict=True))} if names else {}
        for at, name in enumerate(objectives):
            rows = [front.iloc[best(costs(front, objectives), at)] for front in own]
            a, b = (float(row[name]) for row in rows)
            numbers = {f"number_{s}": int(str(r.name)) for s, r in zip("ab", rows, strict=True)}
            values = {"objective": name, "a": a, "b": b, "ratio": ratio(a, b)}
            found.append({**within, **values, **numbers})
    return found


def _both(one: SweepData, other: SweepData) -> pd.DataFrame:
    """Return the numbers of points that both sweeps have run, columns a and b."""
    sides = []
    for name, data in (("a", one), ("b", other)):
        own = data.rows.loc[data.done].reindex(columns=_ROW)
        for part in _TRACE:
            of = {key: str(trace["description"].get(part)) for key, trace in data.traces.items()}
            own[part] = data.points.loc[data.done, "trace"].map(of)
        own = own.drop_duplicates()
        sides.append(own.rename_axis(name).reset_index())
    return sides[0].merge(sides[1], on=_IDENTITY)[["a", "b"]]


def _changed(
    one: SweepData, other: SweepData, both: pd.DataFrame, objectives: list[str]
) -> list[dict[str, Any]]:
    """Return every value of an objective that differs in points of both, largest first."""
    found = []
    for name in objectives:
        a = one.rows.loc[both["a"], name].to_numpy(float)
        b = other.rows.loc[both["b"], name].to_numpy(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.abs(b - a) > _SAME * np.maximum(np.abs(a), np.abs(b))
        for at in np.flatnonzero(far):
            found.append(
                {
                    "number_a": int(both["a"].iloc[at]),
                    "number_b": int(both["b"].iloc[at]),
                    "objective": name,
                    "a": float(a[at]),
                    "b": float(b[at]),
                    "ratio": ratio(float(a[at]), float(b[at])),
                }
            )
    return sorted(found, key=lambda row: -_size(row["ratio"]))


def _size(value: float | None) -> float:
    return float("inf") if value is None or value <= 0 else abs(float(np.log(value)))


def _headline(
    one: SweepData, other: SweepData, both: int, changed: list[dict[str, Any]], beaten: str
) -> str:
    counts = f"{one.space.title}, {len(one.points):,} points, and {other.space.title}, "
    counts += f"{len(other.points):,}: {both:,} {'is' if both == 1 else 'are'} in both"
    numbers = len({row["number_a"] for row in changed})
    if both:
        counts += f", {numbers:,} of them changed" if numbers else ", none of them changed"
    return f"{counts}. {beaten}"


def _cards(bests: list[dict[str, Any]], known: dict[str, Column]) -> list[Card]:
    """Return a card an objective; of several groups the geometric mean of their ratios."""
    found = []
    for name, own in known.items():
        rows = [row for row in bests if row["objective"] == name]
        ratios = [row["ratio"] for row in rows if row["ratio"] is not None and row["ratio"] > 0]
        note = f"geometric mean of {len(ratios)} groups"
        if len(rows) == 1:
            ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
            note = f"{own.text(rows[0]['a'])} → {own.text(rows[0]['b'])}"
        if rows:
            value = f"{ratio_text(_mean(ratios))}×" if ratios else "-"
            found.append(Card(f"Best {own.label}", value, note))
    return found


def _mean(ratios: list[float]) -> float:
    return ratios[0] if len(ratios) == 1 else float(np.exp(np.mean(np.log(ratios))))


def _best_caption(count: int, within: str) -> str:
    text = f"The best feasible point of each objective. {within}".rstrip()
    return f"{text} The first {LINES} of {count} lines." if count > LINES else text


def _best_table(
    one: SweepData,
    other: SweepData,
    bests: list[dict[str, Any]],
    known: dict[str, Column],
    names: list[str],
) -> TextTable:
    lines = [
        [
            *(value_text(row["within"][name]) for name in names),
            label(row["objective"]),
            known[row["objective"]].text(row["a"]),
            known[row["objective"]].text(row["b"]),
            ratio_text(row["ratio"]),
            f"#{row['number_a']}: {where(one, row['number_a'])}",
            f"#{row['number_b']}: {where(other, row['number_b'])}",
        ]
        for row in bests[:LINES]
    ]
    columns = [*names, "objective", "A", "B", _RATIO, "point of A", "point of B"]
    numeric = [*(False for _ in names), False, True, True, True, False, False]
    return TextTable(columns, lines, numeric)


def _changed_table(
    one: SweepData, changed: list[dict[str, Any]], known: dict[str, Column]
) -> TextTable:
    lines = [
        [
            f"#{row['number_a']}",
            f"#{row['number_b']}",
            label(row["objective"]),
            known[row["objective"]].text(row["a"]),
            known[row["objective"]].text(row["b"]),
            ratio_text(row["ratio"]),
            where(one, row["number_a"]),
        ]
        for row in changed[:LINES]
    ]
    columns = ["in A", "in B", "objective", "A", "B", _RATIO, "axes in A"]
    return TextTable(columns, lines, [True, True, False, True, True, True, False])


def _draw(
    sweeps: tuple[SweepData, SweepData],
    fronts: Fronts,
    groups: list[pd.Series],
    known: dict[str, Column],
) -> Figure:
    names = list(known)
    pairs = [(names[0], name) for name in names[1:] or names]
    across = min(len(pairs), _PANELS)
    with styled():
        figure = new_figure(0.5 + -(-len(pairs) // across) * (4.2 if across == 1 else 3.2))
        panels = list(figure.subplots(-(-len(pairs) // across), across, squeeze=False).flat)
        for axes, (x, y) in zip(panels, pairs, strict=False):
            for data, front, of, colour, mark in zip(
                sweeps, fronts, groups, (STUDIED, RANDOM), ("o", "D"), strict=True
            ):
                parts = _parts(front, of)
                if len(parts) > 1 and x != y:
                    ways = {name: data.objectives[name] for name in (x, y)}
                    for own in parts.values():
                        steps = own.iloc[staircase(costs(own, ways))]
                        axes.step(
                            steps[x] / known[x].factor,
                            steps[y] / known[y].factor,
                            where="post",
                            color=colour,
                            linewidth=0.9,
                            zorder=10,
                        )
                for own, tint, size in (
                    (data.rows[data.feasible], lighter(colour, 0.7), 7),
                    (front, colour, 24),
                ):
                    axes.scatter(
                        own[x] / known[x].factor,
                        own[y] / known[y].factor,
                        s=size,
                        color=tint,
                        marker=mark,
                        linewidths=0,
                        alpha=0.85,
                        zorder=size,
                        rasterized=len(own) > 2000,  # thousands of paths make a page heavy
                    )
            axes.set_xlabel(known[x].title)
            axes.set_ylabel(known[y].title)
            axes.grid(True)
        for axes in panels[len(pairs) :]:
            axes.set_axis_off()
        _legend(figure)
        figure.canvas.draw()
        figure.set_layout_engine("none")
    return figure


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    entries = (("front of A", STUDIED, "o"), ("front of B", RANDOM, "D"))
    handles = [
        Line2D([], [], marker=mark, linestyle="", color=colour, label=text)
        for text, colour, mark in entries
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, handletextpad=0.2)
