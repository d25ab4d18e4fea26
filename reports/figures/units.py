"""Where the cycles go: busy, or waiting and why, for each unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import words
from reports.figures.style import (
    NothingToDraw,
    legend_above,
    new_figure,
    scaled_axis,
    stack,
    state_colours,
    styled,
    text_on,
    y_names,
)
from reports.run_data import RunData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Where the cycles go: what each unit does or waits for"
CAPTION = (
    "One bar per unit; its parts add up to the cycles of the run, so all bars of a panel end at "
    "the same place. Both panels have the same scale."
)


def draw(run: RunData) -> Figure:
    """Draw one panel per trace on the studied machine: the unpruned and the studied one."""
    tables = _tables(run)
    if not tables:
        raise NothingToDraw("the run has no rows per unit")
    names = list(dict.fromkeys(unit for table in tables.values() for unit in table["unit"]))
    colours = state_colours(_states(run))
    with styled():
        figure = new_figure(1.1 + 0.42 * len(names))
        panels = figure.subplots(1, len(tables), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (method, table) in zip(panels, tables.items(), strict=True):
            _panel(axes, table, names, colours)
            axes.set_title(f"{words.trace_name(method)} trace on {run.machine}")
            scaled_axis(axes, "x", "cycles")
        y_names(panels[0], names)
        shown = [
            state for state in colours if any((t["state"] == state).any() for t in tables.values())
        ]
        legend_above(figure, [(_words(state), colours[state], None) for state in shown])
    return figure


def _tables(run: RunData) -> dict[str, pd.DataFrame]:
    tables = {method: run.table("units", method, run.machine) for method in run.compared}
    return {method: table for method, table in tables.items() if len(table)}


def _states(run: RunData) -> list[str]:
    """Return all states of the run: colours do not depend on what one panel shows."""
    return sorted(set(run.tables["units"]["state"]))


def _words(state: str) -> str:
    return state.replace("_", " ")


def _panel(axes: Axes, table: pd.DataFrame, names: list[str], colours: dict[str, str]) -> None:
    for y, unit in enumerate(names):
        own = table[table["unit"] == unit].groupby("state")["cycles"].sum()
        total = stack(axes, y, [(float(own.get(s, 0)), c, None) for s, c in colours.items()])
        busy = float(own.get("busy", 0))
        if total and busy / total >= 0.14:
            axes.text(
                busy / 2,
                y,
                words.percent(busy / total),
                ha="center",
                va="center",
                color=text_on(colours["busy"]),
                fontsize=9.5,
                fontweight="bold",
            )


def takeaway(run: RunData) -> str:
    """Name the busiest unit and the largest reason to wait of the studied trace."""
    table = run.table("units", run.method, run.machine)
    if table.empty:
        return "The run has no rows per unit."
    total = table.groupby("unit", sort=False)["cycles"].sum()
    busy = table[table["state"] == "busy"].set_index("unit")["cycles"]
    shares = (busy / total).reindex(total.index).fillna(0.0)
    unit = shares.index[(shares >= shares.max() - 0.005).argmax()]  # among equals the first
    text = f"The busiest unit is {unit}, busy {words.percent(shares[unit])} of the time"
    waits = table[~table["state"].isin(["busy", "idle"]) & (table["unit"] == unit)]
    waits = waits.sort_values("cycles")
    if len(waits) and waits["cycles"].iloc[-1] > 0:
        worst = waits.iloc[-1]
        share = words.percent(worst["cycles"] / total[worst["unit"]])
        text += f"; its largest wait is “{_words(worst['state'])}” ({share})"
    return text + "."
