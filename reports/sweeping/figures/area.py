"""Area of points of the front, by part of the machine."""

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
    styled,
)
from reports.sweeping.figures.bars import parts_of, point_names, stacked
from reports.sweeping.read import SweepData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Where the area goes"
CAPTION = (
    "The same points. Cells and RAM macros at 40 nm, not placed: no clock tree, wires or pads. "
    "An empty bar is a machine without an area, as on an FPGA. Parts below 2 % of every bar are "
    "drawn as one."
)


def draw(data: SweepData) -> Figure:
    """Draw one stacked bar a point."""
    parts = parts_of(data, "area", "area_mm2")
    if parts.empty or parts.to_numpy().sum() <= 0:
        raise NothingToDraw("the machines of the points shown have no area")
    colours = part_colours(parts.columns)
    with styled():
        figure = new_figure(1.2 + 0.36 * len(parts))
        axes = figure.subplots()
        stacked(axes, parts, colours, point_names(data, data.shown))
        for y, total in enumerate(parts.sum(axis=1)):
            text = f" {words.number(total)} mm²" if total else " no area"
            axes.text(total, y, text, va="center", color=INK, fontweight="bold")
        axes.set_xlabel("area, mm²")
        axes.grid(True, axis="x")
        axes.set_xlim(0, float(parts.sum(axis=1).max()) * 1.14)
        legend_above(figure, [(part, colours[part], None) for part in parts.columns])
    return figure


def takeaway(data: SweepData) -> str:
    """Name the largest part over the points shown."""
    parts = parts_of(data, "area", "area_mm2")
    shares = parts.div(parts.sum(axis=1), axis=0)
    part = str(shares.mean().idxmax())
    low, high = words.percent(shares[part].min()), words.percent(shares[part].max())
    span = low if low == high else f"{low.removesuffix(' %')} to {high}"
    return f"The largest part is {part}: {span} of the area of the points shown."


def table(data: SweepData) -> pd.DataFrame:
    """Return all parts of the points shown."""
    own = data.tables["area"]
    return own[own["number"].isin(data.shown)].reset_index(drop=True)
