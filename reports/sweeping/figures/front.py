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
from reports.sweeping.columns import Column, columns
from reports.sweeping.export import all_points
from reports.sweeping.read import SweepData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "The front, one pair of objectives at a time"
CAPTION = (
    "Grey: all points that ran, pale if outside a constraint. Blue: the front over all objectives "
    "together, so in one panel some of its points may look beaten. Axes that span more than a "
    "factor of 20 are logarithmic."
)
_WIDE = 20.0
_PANELS = 3  # beside one another


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
        _legend(figure)
    return figure


def _pairs(data: SweepData) -> list[tuple[str, str]]:
    names = list(data.objectives)
    if len(names) == 1:
        return [(names[0], names[0])]
    return [(names[0], name) for name in names[1:]]


def _panel(axes: Axes, data: SweepData, x: Column, y: Column) -> None:
    groups = (
        (data.done & ~data.feasible, lighter(UNPRUNED, 0.65), 9, 1),
        (data.feasible & ~data.front, UNPRUNED, 11, 2),
        (data.front, STUDIED, 26, 3),
    )
    for mask, colour, size, order in groups:
        own = data.rows[mask]
        axes.scatter(
            own[x.name] / x.factor,
            own[y.name] / y.factor,
            s=size,
            color=colour,
            linewidths=0.5 if order == 3 else 0,
            edgecolors="white",
            zorder=order,
            rasterized=len(own) > 2000,  # thousands of paths make a page heavy
        )
    for column, scale in ((x, axes.set_xscale), (y, axes.set_yscale)):
        values = data.rows.loc[data.done, column.name]
        if values.min() > 0 and values.max() / values.min() > _WIDE:
            scale("log")
    axes.set_xlabel(x.title)
    axes.set_ylabel(y.title)
    axes.grid(True)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    entries = [
        ("on the front", STUDIED),
        ("within all constraints", UNPRUNED),
        ("outside one", lighter(UNPRUNED, 0.65)),
    ]
    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=label)
        for label, colour in entries
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.2)


def takeaway(data: SweepData) -> str:
    """Say how many points are left to choose from."""
    front, feasible = int(data.front.sum()), int(data.feasible.sum())
    if not feasible:
        return "No point is within all constraints, so there is no front."
    if front == 1:
        return f"One of {feasible:,} feasible points is best in everything."
    return f"{front:,} of {feasible:,} feasible points are on the front: nothing beats them."


def table(data: SweepData) -> pd.DataFrame:
    """Return status, axes and objectives of all points that ran."""
    whole = all_points(data)
    names = ["number", "feasible", "front", *(n for n in whole if n.startswith("axis."))]
    return whole.loc[whole["status"] == "done", [*names, *data.objectives]]
