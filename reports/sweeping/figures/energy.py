"""Energy of points of the front, by part of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports import words
from reports.figures.style import (
    INK,
    NothingToDraw,
    legend_above,
    new_figure,
    part_colours,
    scaled_axis,
    styled,
)
from reports.sweeping.figures.bars import parts_of, point_names, stacked
from reports.sweeping.read import SweepData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Where the energy goes"
CAPTION = (
    "Points of the front as listed above, numbered as there. Counted events times the energy of "
    "one event. Parts below 2 % of every bar are drawn as one."
)
_JOULE = 1e-12


def draw(data: SweepData) -> Figure:
    """Draw one stacked bar a point."""
    parts = parts_of(data, "energy", "energy_pj")
    if parts.empty or parts.to_numpy().sum() <= 0:
        raise NothingToDraw("no energy was counted")
    colours = part_colours(parts.columns)
    with styled():
        figure = new_figure(1.2 + 0.36 * len(parts))
        axes = figure.subplots()
        stacked(axes, parts * _JOULE, colours, point_names(data, data.shown))
        for y, total in enumerate(parts.sum(axis=1)):
            text = " " + words.energy(total)
            axes.text(total * _JOULE, y, text, va="center", color=INK, fontweight="bold")
        scaled_axis(axes, "x", "energy", "J")
        axes.set_xlim(0, float(parts.sum(axis=1).max()) * _JOULE * 1.14)
        legend_above(figure, [(part, colours[part], None) for part in parts.columns])
    return figure


def takeaway(data: SweepData) -> str:
    """Name the part that spends most at each end."""
    parts = parts_of(data, "energy", "energy_pj")
    least = parts.sum(axis=1).idxmin()
    own = parts.loc[least].sort_values()
    share = words.percent(own.iloc[-1] / own.sum())
    return f"At #{least}, the least energy shown, {own.index[-1]} takes {share}."


def table(data: SweepData) -> pd.DataFrame:
    """Return all parts of the points shown."""
    own = data.tables["energy"]
    own = own[own["number"].isin(data.shown)]
    return (
        own.groupby(["number", "component", "group"], sort=False)["energy_pj"].sum().reset_index()
    )
