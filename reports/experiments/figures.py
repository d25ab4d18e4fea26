"""Figures of a reproduction, drawn from the table of claims alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports import words
from reports.experiments.claim import CLOSE
from reports.figures.style import (
    BUSY,
    MEMORY,
    STUDIED,
    UNPRUNED,
    legend_above,
    new_figure,
    styled,
    y_names,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANES, SIZES = "comparators per top-k array", "KB of each of K and V"
_COLOURS = {"met": "#117733", "near": "#DDAA33", "off": MEMORY}


def compared(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the claims that have a published value."""
    return claims[claims["verdict"].isin(list(_COLOURS))]


def draw_ratios(claims: pd.DataFrame) -> Figure:
    """Draw ours over published, one dot a claim, on a logarithmic axis."""
    rows = compared(claims).reset_index(drop=True)
    with styled():
        figure = new_figure(0.9 + 0.23 * len(rows))
        axes = figure.subplots()
        axes.axvspan(1 - CLOSE, 1 + CLOSE, color="#117733", alpha=0.12)
        axes.axvline(1.0, color=UNPRUNED, linewidth=1)
        for y, (ratio, verdict) in enumerate(zip(rows["ratio"], rows["verdict"], strict=True)):
            axes.plot(ratio, y, "o", color=_COLOURS[verdict], markersize=6)
        axes.set_xscale("log")
        _plain_ticks(axes, [0.25, 0.5, 0.75, 1, 1.5, 2, 3])
        axes.set_xlabel("ours over published")
        axes.grid(True, axis="x")
        y_names(axes, rows["quantity"].tolist())
        axes.tick_params(axis="y", labelsize=8.5)
        legend_above(figure, [(name, colour, None) for name, colour in _COLOURS.items()])
    return figure


def _plain_ticks(axes: Axes, ticks: list[float]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def steps(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the claims of the speed-up breakdown."""
    return claims[claims["section"].str.startswith("Speed-up")].reset_index(drop=True)


def points(claims: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the points of a design-space curve."""
    return claims[(claims["verdict"] == "shown") & claims["quantity"].str.endswith(name)]


def draw_breakdown(claims: pd.DataFrame) -> Figure:
    """Draw the gain of each step of the design, published beside ours."""
    rows = steps(claims)
    with styled():
        figure = new_figure(0.9 + 0.55 * len(rows))
        axes = figure.subplots()
        for y, row in rows.iterrows():
            for shift, value, colour in (
                (-0.2, row["published"], UNPRUNED),
                (0.2, row["ours"], STUDIED),
            ):
                axes.barh(y + shift, value, height=0.36, color=colour)
                axes.text(value * 1.03, y + shift, f"{words.number(value)}×", va="center",
                          fontsize=9)  # fmt: skip
        axes.axvline(1.0, color=UNPRUNED, linewidth=1)
        axes.set_xscale("log")
        axes.set_xlim(0.4, 60)
        _plain_ticks(axes, [0.5, 1, 2, 5, 10, 20, 50])
        axes.set_xlabel("times faster than the step before (logarithmic)")
        y_names(axes, rows["quantity"].tolist())
        legend_above(figure, [("published", UNPRUNED, None), ("ours", STUDIED, None)])
    return figure


def draw_curves(claims: pd.DataFrame) -> Figure:
    """Draw both design-space curves; the paper's choice is marked."""
    with styled():
        figure = new_figure(2.9)
        left, right = figure.subplots(1, 2, sharey=True)
        _curve(left, claims, LANES, 16)
        _curve(right, claims, SIZES, 196)
        left.set_ylabel("speed, the paper's choice = 1")
        left.set_ylim(0, None)
    return figure


def _curve(axes: Axes, claims: pd.DataFrame, name: str, chosen: int) -> None:
    rows = points(claims, name)
    values = [int(text.partition(" ")[0]) for text in rows["quantity"]]
    axes.plot(values, rows["ours"], "o-", color=BUSY)
    axes.axvline(chosen, color=MEMORY, linewidth=1, linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(value) for value in values])
    axes.set_xlabel(name)
    axes.grid(True, axis="y")
    axes.set_title(f"paper: {chosen}")
