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
from reports.sweeping.columns import Column, column, label
from reports.sweeping.front import best, costs, dominated, on_front
from reports.sweeping.read import SweepData, read_sweep
from reports.sweeping.tables import where
from workloads.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    fronts = [_front(data, objectives) for data in (one, other)]
    known = {
        name: column(name, pd.concat([one.rows[name], other.rows[name]])) for name in objectives
    }
    beaten = _beaten(fronts, objectives)
    bests = _bests(fronts, objectives)
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
        "beaten.",
        inline(svg(_draw((one, other), fronts, known)).decode(), "fronts"),
    )
    return Comparison(
        folders=(a, b),
        kind="sweeps",
        headline=_headline(one, other, len(both), changed, _beaten_text(fronts, beaten)),
        cards=[_card(row, known) for row in bests],
        pictures=[picture],
        sections=[
            Section(
                "best",
                "Best points",
                _best_table(one, other, bests, known),
                "The best feasible point of each objective.",
                "One of the sweeps has no feasible point.",
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


def _front(data: SweepData, objectives: dict[str, str]) -> pd.DataFrame:
    own = data.rows[data.feasible]
    own = own[on_front(costs(own, objectives))]
    return own.iloc[np.lexsort(costs(own, objectives).T[::-1])]


def _beaten(fronts: list[pd.DataFrame], objectives: dict[str, str]) -> dict[str, list[Any]]:
    """Return the numbers of each front's points that the other front has something better for."""
    values = [costs(own, objectives) for own in fronts]
    return {
        side: list(fronts[at].index[dominated(values[at], values[1 - at])])
        for at, side in enumerate("ab")
    }


def _beaten_text(fronts: list[pd.DataFrame], beaten: dict[str, list[Any]]) -> str:
    return (
        f"B has something better for {len(beaten['a'])} of the {len(fronts[0])} points on A's "
        f"front, A for {len(beaten['b'])} of the {len(fronts[1])} on B's."
    )


def _bests(fronts: list[pd.DataFrame], objectives: dict[str, str]) -> list[dict[str, Any]]:
    if any(own.empty for own in fronts):
        return []
    found = []
    for at, name in enumerate(objectives):
        rows = [own.iloc[best(costs(own, objectives), at)] for own in fronts]
        a, b = (float(row[name]) for row in rows)
        numbers = {f"number_{s}": int(str(r.name)) for s, r in zip("ab", rows, strict=True)}
        found.append({"objective": name, "a": a, "b": b, "ratio": ratio(a, b), **numbers})
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


def _card(row: dict[str, Any], known: dict[str, Column]) -> Card:
    own = known[row["objective"]]
    value = "-" if row["ratio"] is None else f"{ratio_text(row['ratio'])}×"
    return Card(f"Best {own.label}", value, f"{own.text(row['a'])} → {own.text(row['b'])}")


def _best_table(
    one: SweepData, other: SweepData, bests: list[dict[str, Any]], known: dict[str, Column]
) -> TextTable:
    lines = [
        [
            label(row["objective"]),
            known[row["objective"]].text(row["a"]),
            known[row["objective"]].text(row["b"]),
            ratio_text(row["ratio"]),
            f"#{row['number_a']}: {where(one, row['number_a'])}",
            f"#{row['number_b']}: {where(other, row['number_b'])}",
        ]
        for row in bests
    ]
    columns = ["objective", "A", "B", "B / A", "point of A", "point of B"]
    return TextTable(columns, lines, [False, True, True, True, False, False])


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
    columns = ["in A", "in B", "objective", "A", "B", "B / A", "axes in A"]
    return TextTable(columns, lines, [True, True, False, True, True, True, False])


def _draw(
    sweeps: tuple[SweepData, SweepData], fronts: list[pd.DataFrame], known: dict[str, Column]
) -> Figure:
    names = list(known)
    pairs = [(names[0], name) for name in names[1:] or names]
    across = min(len(pairs), _PANELS)
    with styled():
        figure = new_figure(0.5 + -(-len(pairs) // across) * (4.2 if across == 1 else 3.2))
        panels = list(figure.subplots(-(-len(pairs) // across), across, squeeze=False).flat)
        for axes, (x, y) in zip(panels, pairs, strict=False):
            for data, front, colour, mark in zip(
                sweeps, fronts, (STUDIED, RANDOM), ("o", "D"), strict=True
            ):
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
