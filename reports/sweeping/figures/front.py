"""The Pareto front, still: every objective against the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports.figures.style import (
    STUDIED,
    UNPRUNED,
    NothingToDraw,
    lighter,
    new_figure,
    styled,
)
from reports.sweeping import groups
from reports.sweeping.columns import Column, columns
from reports.sweeping.export import all_points
from reports.sweeping.front import costs, staircase
from reports.sweeping.read import SweepData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "The front, one pair of objectives at a time"
CAPTION = (
    "Grey: all points that ran, pale if outside a constraint. In colour: the front over all "
    "objectives together, so in one panel some of its points may look beaten. Axes that span more "
    "than a factor of 20 are logarithmic."
)
_WIDE = 20.0
_PANELS = 3  # beside one another
_CHARACTERS = 100  # of a row of the legend


def draw(data: SweepData) -> Figure:
    """Draw one panel for each pair of the first objective and another."""
    pairs = _pairs(data)
    if not data.done.any():
        raise NothingToDraw("no point ran")
    known = columns(data)
    lines = -(-len(pairs) // _PANELS)
    across = min(len(pairs), _PANELS)
    with styled():
        figure = new_figure(0.5 + lines * (4.2 if across == 1 else 3.2))
        panels = figure.subplots(lines, across, squeeze=False).flat
        for axes, (x, y) in zip(panels, pairs, strict=False):
            _panel(axes, data, known[x], known[y])
        for axes in list(panels)[len(pairs) :]:
            axes.set_axis_off()
        _legend(figure, data)
    return figure


def _pairs(data: SweepData) -> list[tuple[str, str]]:
    names = list(data.objectives)
    if len(names) == 1:
        return [(names[0], names[0])]
    return [(names[0], name) for name in names[1:]]


def _panel(axes: Axes, data: SweepData, x: Column, y: Column) -> None:
    for mask, colour, size in (
        (data.done & ~data.feasible, lighter(UNPRUNED, 0.65), 9),
        (data.feasible & ~data.front, UNPRUNED if not data.grouped else lighter(UNPRUNED, 0.4), 11),
    ):
        own = data.rows[mask]
        axes.scatter(
            own[x.name] / x.factor,
            own[y.name] / y.factor,
            s=size,
            color=colour,
            linewidths=0,
            zorder=1 if size == 9 else 2,
            rasterized=len(own) > 2000,  # thousands of paths make a page heavy
        )
    for place, own in data.fronts().items():
        _front(axes, data, own, x, y, place)
    for column, scale in ((x, axes.set_xscale), (y, axes.set_yscale)):
        values = data.rows.loc[data.done, column.name]
        if values.min() > 0 and values.max() / values.min() > _WIDE:
            scale("log")
    axes.set_xlabel(x.title)
    axes.set_ylabel(y.title)
    axes.grid(True)


def _front(
    axes: Axes, data: SweepData, own: pd.DataFrame, x: Column, y: Column, place: int
) -> None:
    """Draw the points of one front and, if there are several, its line."""
    colour, mark = _look(data, place)
    if data.grouped and x.name != y.name:
        ways = {name: data.objectives[name] for name in (x.name, y.name)}
        steps = own.iloc[staircase(costs(own, ways))]
        axes.step(
            steps[x.name] / x.factor,
            steps[y.name] / y.factor,
            where="post",  # along what comes next, from the better in x to the worse
            color=colour,
            linewidth=1.1,
            zorder=2.5,
        )
    axes.scatter(
        own[x.name] / x.factor,
        own[y.name] / y.factor,
        s=20 if data.grouped else 26,
        color=colour,
        marker=mark,
        linewidths=0.5,
        edgecolors="white",
        zorder=3,
        rasterized=len(own) > 2000,
    )


def _look(data: SweepData, place: int) -> tuple[str, str]:
    """Return colour and mark of a group."""
    if not data.grouped:
        return STUDIED, "o"
    few = len(data.groups) <= groups.NAMED
    return groups.colour(data, place), groups.MARKS[place] if few else "o"


def _legend(figure: Figure, data: SweepData) -> None:
    """Name the fronts, of many some, and what is grey."""
    from matplotlib.lines import Line2D

    def entry(label: str, colour: str, mark: str, line: str) -> Line2D:
        return Line2D([], [], marker=mark, linestyle=line, linewidth=1.1, color=colour, label=label)

    fronts = list(data.fronts())
    if data.grouped:
        named = [fronts[at] for at in groups.spread(len(fronts), groups.NAMED)]
        handles = [entry(groups.short(data, at), *_look(data, at), "-") for at in named]
    else:
        handles = [entry("on the front", *_look(data, 0), "")]
    grey = UNPRUNED if not data.grouped else lighter(UNPRUNED, 0.4)
    if not data.front.loc[data.feasible].all():
        handles.append(entry("not on a front" if data.grouped else "beaten", grey, "o", ""))
    if (data.done & ~data.feasible).any():
        handles.append(entry("outside a constraint", lighter(UNPRUNED, 0.65), "o", ""))
    title = f"front of each {groups.title(data)}" if data.grouped else None
    if data.grouped and len(fronts) > groups.NAMED:
        title = f"{title}, {groups.NAMED} of {len(fronts)} named; colours follow the order"
    widest = max(len(str(handle.get_label())) for handle in handles)
    figure.legend(
        handles=handles,
        title=title,
        alignment="left",
        loc="outside upper left",
        ncols=max(1, min(len(handles), _CHARACTERS // (widest + 6))),
        handletextpad=0.4,
    )


def takeaway(data: SweepData) -> str:
    """Say how many points are left to choose from."""
    front, feasible = int(data.front.sum()), int(data.feasible.sum())
    if not feasible:
        return "No point is within all constraints, so there is no front."
    if data.grouped:
        name, count = groups.title(data), len(data.fronts())
        lines = (
            f" Each line joins what is best of one {name} in the two columns of its panel."
            if front > count
            else ""
        )
        return (
            f"{front:,} of {feasible:,} feasible points are on {count:,} "
            f"{'front' if count == 1 else 'fronts'}, one for each {name}: nothing of the "
            f"same {name} beats them.{lines}"
        )
    if front == 1:
        return f"One of {feasible:,} feasible points is best in everything."
    return f"{front:,} of {feasible:,} feasible points are on the front: nothing beats them."


def table(data: SweepData) -> pd.DataFrame:
    """Return status, group, axes and objectives of all points that ran."""
    whole = all_points(data)
    own = ["group"] if data.grouped else []
    names = ["number", "feasible", "front", *own, *(n for n in whole if n.startswith("axis."))]
    return whole.loc[whole["status"] == "done", [*names, *data.objectives]]
