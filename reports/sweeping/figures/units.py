"""Where the cycles go at points of the front: the busiest unit of each, busy or waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports import words
from reports.figures.style import (
    NothingToDraw,
    legend_above,
    new_figure,
    state_colours,
    styled,
)
from reports.sweeping.figures.bars import point_names, stacked
from reports.sweeping.read import SweepData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Where the cycles go"
CAPTION = (
    "The same points. One bar is the busiest unit of the point, named at its end: what it does or "
    "waits for, in shares of the run's cycles. All units stand in the CSV file."
)
_LEAST = 0.001  # share of the cycles that is worth a word


def draw(data: SweepData) -> Figure:
    """Draw one bar a point."""
    shares, units = _busiest(data)
    if shares.empty:
        raise NothingToDraw("the points have no rows per unit")
    colours = state_colours(shares.columns)
    shares = shares[list(colours)]
    with styled():
        figure = new_figure(1.2 + 0.36 * len(shares))
        axes = figure.subplots()
        stacked(axes, 100 * shares, colours, point_names(data, list(shares.index)))
        for y, unit in enumerate(units):
            axes.text(101, y, unit, va="center")
        axes.set_xlim(0, 118)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel("share of the cycles, %")
        axes.grid(True, axis="x")
        legend_above(
            figure,
            [(s.replace("_", " "), c, None) for s, c in colours.items() if shares[s].sum() > 0],
        )
    return figure


def _busiest(data: SweepData) -> tuple[pd.DataFrame, list[str]]:
    """Return points down and states across of the unit that is busy longest, and its name."""
    own = data.tables["units"]
    lines, units, numbers = [], [], []
    for number in data.shown:
        states = own[own["number"] == number].pivot_table(
            index="unit", columns="state", values="cycles", aggfunc="sum", sort=False
        )
        if states.empty or "busy" not in states:
            continue
        unit = states["busy"].fillna(0).idxmax()
        line = states.loc[unit].fillna(0)
        lines.append(line / line.sum())
        units.append(str(unit))
        numbers.append(number)
    return pd.DataFrame(lines, index=numbers).fillna(0.0), units


def takeaway(data: SweepData) -> str:
    """Name the largest reason to wait at the first point shown."""
    shares, units = _busiest(data)
    number = shares.index[0]
    own = shares.loc[number]
    waits = own.drop([s for s in ("busy", "idle") if s in own.index]).sort_values()
    text = f"At #{number}, {units[0]} is busy {words.percent(own['busy'])} of the time"
    if len(waits) and waits.iloc[-1] >= _LEAST:
        text += f"; the largest part of the rest is “{str(waits.index[-1]).replace('_', ' ')}”"
        text += f" ({words.percent(waits.iloc[-1])})"
    return text + "."


def table(data: SweepData) -> pd.DataFrame:
    """Return cycles of all units and states of the points shown."""
    own = data.tables["units"]
    return own[own["number"].isin(data.shown)].reset_index(drop=True)
