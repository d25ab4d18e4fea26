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

_COLOURS = {"met": "#117733", "near": "#DDAA33", "off": MEMORY}


def compared(claims: pd.DataFrame) -> pd.DataFrame:
    """Return the claims that have a published value."""
    return claims[claims["verdict"].isin(list(_COLOURS))]


def draw_ratios(claims: pd.DataFrame) -> Figure:
    """Draw ours over published, one dot a claim, on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    rows = compared(claims).reset_index(drop=True)
    with styled():
        figure = new_figure(0.9 + 0.23 * len(rows))
        axes = figure.subplots()
        axes.axvspan(1 - CLOSE, 1 + CLOSE, color="#117733", alpha=0.12)
        axes.axvline(1.0, color=UNPRUNED, linewidth=1)
        for y, (ratio, verdict) in enumerate(zip(rows["ratio"], rows["verdict"], strict=True)):
            axes.plot(ratio, y, "o", color=_COLOURS[verdict], markersize=6)
        axes.set_xscale("log")
        ticks = [0.25, 0.5, 0.75, 1, 1.5, 2, 3]
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("ours over published")
        axes.grid(True, axis="x")
        y_names(axes, [_short(row) for row in rows.to_dict("records")])
        axes.tick_params(axis="y", labelsize=8.5)
        legend_above(figure, [(name, colour, None) for name, colour in _COLOURS.items()])
    return figure


def _short(row: dict[str, object]) -> str:
    section = str(row["section"]).partition(" ")[0]
    return f"{section}: {row['quantity']}"


def draw_breakdown(claims: pd.DataFrame) -> Figure:
    """Draw the gain of each step of the design, published beside ours."""
    rows = claims[claims["section"].str.startswith("Speed-up")].reset_index(drop=True)
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
        axes.set_xlabel("times faster than the step before (logarithmic)")
        y_names(axes, rows["quantity"].tolist())
        legend_above(figure, [("published", UNPRUNED, None), ("ours", STUDIED, None)])
    return figure


def draw_curves(claims: pd.DataFrame) -> Figure:
    """Draw both design-space curves; the paper's choice is marked."""
    with styled():
        figure = new_figure(2.9)
        left, right = figure.subplots(1, 2, sharey=True)
        _curve(left, claims, "comparators per top-k array", 16)
        _curve(right, claims, "KB of each of K and V", 196)
        left.set_ylabel("speed, the paper's choice = 1")
        left.set_ylim(0, None)
    return figure


def _curve(axes: Axes, claims: pd.DataFrame, name: str, chosen: int) -> None:
    rows = claims[(claims["verdict"] == "shown") & claims["quantity"].str.endswith(name)]
    values = [int(text.partition(" ")[0]) for text in rows["quantity"]]
    axes.plot(values, rows["ours"], "o-", color=BUSY)
    axes.axvline(chosen, color=MEMORY, linewidth=1, linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(value) for value in values])
    axes.set_xlabel(name)
    axes.grid(True, axis="y")
    axes.set_title(f"paper: {chosen}")
