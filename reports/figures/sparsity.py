"""Sparsity that the trace offers against sparsity that the machine exploits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports import words
from reports.figures.style import (
    FAINT,
    INK,
    STUDIED,
    NothingToDraw,
    legend_above,
    lighter,
    new_figure,
    styled,
    y_names,
)
from reports.run_data import RunData

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Offered against exploited sparsity"
CAPTION = (
    "Pale: what the trace allows to leave out. Dark: what the machine really left out. Pale "
    "without dark is work the machine could not skip. Kinds are counted one after another, each "
    "on what the ones above it left, so they add up. A negative share is work that was added, "
    "such as queries computed twice."
)
_FIRST = "multiplications"
TOGETHER = "all together"
_OFFERED = lighter(STUDIED, 0.72)


def draw(run: RunData) -> Figure:
    """Draw one column per quantity and one row per machine; a bar per kind of sparsity."""
    table = _offers(run)
    if table.empty:
        raise NothingToDraw(f"the trace of {run.method} offers no sparsity")
    quantities = list(dict.fromkeys(table["quantity"]))
    kinds = list(dict.fromkeys(table["kind"]))
    with styled():
        figure = new_figure(0.9 + len(run.machines) * (0.55 + 0.4 * len(kinds)))
        panels = figure.subplots(
            len(run.machines), len(quantities), sharex=True, sharey=True, squeeze=False
        )
        for line, machine in zip(panels, run.machines, strict=True):
            for axes, quantity in zip(line, quantities, strict=True):
                own = table[(table["machine"] == machine) & (table["quantity"] == quantity)]
                _panel(axes, own.set_index("kind"), kinds)
                axes.set_title(f"{quantity} on {machine}")
            y_names(line[0], kinds)
        for axes in panels[-1]:
            axes.set_xlabel("share of the dense amount, %")
        shares = 100 * table[["offered", "exploited"]].div(table["dense"], axis=0)
        low, high = float(shares.min().min()), float(shares.max().max())
        panels[0, 0].set_xlim(min(0.0, 1.25 * low), 1.42 * max(high, 5.0))
        legend_above(
            figure, [("offered by the trace", _OFFERED, None), ("exploited", STUDIED, None)]
        )
    return figure


def _offers(run: RunData) -> pd.DataFrame:
    """Return the kinds that the trace has, and their sum as a last kind."""
    table = run.tables["sparsity"]
    table = table[(table["method"] == run.method) & (table["dense"] > 0)]
    used = table.groupby("kind")["offered"].transform(lambda amounts: amounts.abs().sum()) > 0
    table = table[used]
    if table.empty or table["kind"].nunique() == 1:
        return table
    sums = table.groupby(["machine", "quantity"], sort=False, as_index=False).agg(
        dense=("dense", "first"), offered=("offered", "sum"), exploited=("exploited", "sum")
    )
    return pd.concat([table, sums.assign(kind=TOGETHER)], ignore_index=True)


def _panel(axes: Axes, own: pd.DataFrame, kinds: list[str]) -> None:
    for y, kind in enumerate(kinds):
        if kind not in own.index:
            axes.text(1, y, "does not apply", va="center", color=FAINT, fontsize=9.5)
            continue
        dense = float(own.at[kind, "dense"])
        offered = 100 * float(own.at[kind, "offered"]) / dense
        exploited = 100 * float(own.at[kind, "exploited"]) / dense
        axes.barh(y, offered, height=0.72, color=_OFFERED)
        axes.barh(y, exploited, height=0.34, color=STUDIED)
        axes.text(
            max(offered, exploited, 0) + 1,
            y,
            _share(offered, exploited),
            va="center",
            color=INK,
            fontsize=9.5,
            fontweight="bold" if kind == TOGETHER else "normal",
        )
    axes.grid(True, axis="x")


def _share(offered: float, exploited: float) -> str:
    if round(offered) < 0:
        return f"adds {-exploited:.0f} %" if exploited else f"not used, would add {-offered:.0f} %"
    return f"{exploited:.0f} of {offered:.0f} %".replace("-0 ", "0 ")


def takeaway(run: RunData) -> str:
    """Say how much of the offer each machine uses."""
    table = _offers(run)
    if table.empty:
        return f"The trace of {run.method} offers no sparsity."
    parts = []
    for machine in run.machines:
        own = table[(table["machine"] == machine) & (table["quantity"] == _FIRST)]
        if own.empty:  # this machine did not run the studied trace
            continue
        last = own.set_index("kind").iloc[-1]
        if last["offered"] <= 0:
            continue
        share = words.percent(last["exploited"] / last["offered"])
        parts.append(f"{machine} exploits {share} of the {_FIRST} that could be left out")
    return ("; ".join(parts) or "No multiplication could be left out") + "."
