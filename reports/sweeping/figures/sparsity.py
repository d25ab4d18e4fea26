"""Sparsity that traces offer against what machines exploit, by machine and method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports import words
from reports.figures.style import (
    INK,
    STUDIED,
    NothingToDraw,
    legend_above,
    lighter,
    new_figure,
    styled,
    y_names,
)
from reports.sweeping.read import SweepData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Offered against exploited sparsity"
CAPTION = (
    "One row a machine and method, at the point that is nearest to the best of every objective at "
    "once, of its group where there are groups (its number in brackets). Pale: what the trace "
    "allows to leave out, all kinds of sparsity together. Dark: what the machine really left out. "
    "Each kind stands in the CSV file."
)
_OFFERED = lighter(STUDIED, 0.72)
_ROWS = 24  # at most; the rest stands in the CSV file


def draw(data: SweepData) -> Figure:
    """Draw one column a quantity and a row a machine and method."""
    sums = _sums(data)
    if sums.empty or sums["offered"].abs().sum() == 0:
        raise NothingToDraw("the traces offer no sparsity")
    quantities = list(dict.fromkeys(sums["quantity"]))
    names = list(dict.fromkeys(sums["name"]))[:_ROWS]
    with styled():
        figure = new_figure(1.0 + 0.4 * len(names))
        panels = figure.subplots(1, len(quantities), sharex=True, sharey=True, squeeze=False)[0]
        for axes, quantity in zip(panels, quantities, strict=True):
            _panel(axes, sums[sums["quantity"] == quantity].set_index("name"), names)
            axes.set_title(quantity)
            axes.set_xlabel("share of the dense amount, %")
        y_names(panels[0], names)
        shares = 100 * sums[["offered", "exploited"]].div(sums["dense"], axis=0)
        low, high = float(shares.min().min()), float(shares.max().max())
        panels[0].set_xlim(min(0.0, 1.25 * low), 1.42 * max(high, 5.0))
        panels[0].set_xticks(
            [at for at in panels[0].get_xticks() if min(0.0, 1.25 * low) <= at <= 100]
        )
        legend_above(figure, [("offered", _OFFERED, None), ("exploited", STUDIED, None)])
    return figure


def _sums(data: SweepData) -> pd.DataFrame:
    """Return dense, offered and exploited amounts by (name, quantity), kinds added up."""
    own = data.tables["sparsity"]
    own = own[own["dense"] > 0]
    found = []
    for (machine, method), number in data.standing_for.items():
        kinds = own[own["number"] == number]
        for quantity, part in kinds.groupby("quantity", sort=False):
            found.append(
                {
                    "machine": machine,
                    "method": method,
                    "name": f"{words.trace_name(method)} on {machine} (#{number})",
                    "number": number,
                    "quantity": quantity,
                    "dense": part["dense"].iloc[0],
                    "offered": part["offered"].sum(),
                    "exploited": part["exploited"].sum(),
                }
            )
    table = pd.DataFrame(found)
    if table.empty:
        return table
    offered = table.groupby("name")["offered"].transform(lambda amounts: amounts.abs().sum())
    return table[offered > 0]


def _panel(axes: Axes, own: pd.DataFrame, names: list[str]) -> None:
    for y, name in enumerate(names):
        if name not in own.index:
            continue
        dense = float(own.at[name, "dense"])
        offered = 100 * float(own.at[name, "offered"]) / dense
        exploited = 100 * float(own.at[name, "exploited"]) / dense
        axes.barh(y, offered, height=0.72, color=_OFFERED)
        axes.barh(y, exploited, height=0.34, color=STUDIED)
        text = f"{exploited:.0f} of {offered:.0f} %".replace("-0 ", "0 ")
        axes.text(max(offered, exploited, 0) + 1, y, text, va="center", color=INK, fontsize=9.5)
    axes.grid(True, axis="x")


def takeaway(data: SweepData) -> str:
    """Name who uses most and least of the multiplications it could leave out."""
    sums = _sums(data)
    own = sums[(sums["quantity"] == "multiplications") & (sums["offered"] > 0)]
    if own.empty:
        return "No multiplication could be left out."
    shares = (own["exploited"] / own["offered"]).set_axis(own["name"]).sort_values()
    most = f"{shares.index[-1]} exploits {words.percent(shares.iloc[-1])}"
    text = most + " of the multiplications that its trace could leave out"
    if len(shares) > 1:
        text += f", {shares.index[0]} {words.percent(shares.iloc[0])}"
    return text + "."


def table(data: SweepData) -> pd.DataFrame:
    """Return all kinds of the points that stand for a machine and method."""
    own = data.tables["sparsity"]
    names = {number: pair for pair, number in data.standing_for.items()}
    own = own[own["number"].isin(names)].reset_index(drop=True)
    own.insert(1, "machine", own["number"].map(lambda n: names[n][0]))
    own.insert(2, "method", own["number"].map(lambda n: names[n][1]))
    return own
