"""Energy by part of the machine, for every trace on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import words
from reports.figures.style import (
    INK,
    OTHER,
    NothingToDraw,
    legend_above,
    new_figure,
    part_colours,
    scaled_axis,
    stack,
    styled,
    y_names,
)
from reports.run_data import RunData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Where the energy goes"
CAPTION = (
    "Counted events times the energy of one event; every constant and its source stands in the "
    "table of constants below."
)
_JOULE = 1e-12
_SMALL = 0.01


def draw(run: RunData) -> Figure:
    """Draw one panel per machine and one stacked bar per trace, all on one scale."""
    sums = _sums(run)
    if sums.empty or sums.sum() <= 0:
        raise NothingToDraw("no energy was counted")
    parts = list(sums.groupby("component").sum().sort_values(ascending=False).index)
    parts.sort(key=lambda part: part == OTHER)
    colours = part_colours(parts)
    with styled():
        rows = {m: [x for x in run.methods if (m, x) in sums.index] for m in run.machines}
        figure = new_figure(1.0 + sum(0.45 + 0.36 * len(names) for names in rows.values()))
        panels = figure.subplots(
            len(rows),
            1,
            sharex=True,
            squeeze=False,
            gridspec_kw={"height_ratios": [len(names) or 1 for names in rows.values()]},
        )[:, 0]
        longest = float(sums.groupby(["machine", "method"]).sum().max())
        for axes, (machine, names) in zip(panels, rows.items(), strict=True):
            _panel(axes, {name: sums[machine][name] for name in names}, colours)
            axes.set_title(f"on {machine}")
        scaled_axis(panels[-1], "x", "energy", "J")
        for axes in panels[:-1]:
            axes.grid(True, axis="x")
            axes.tick_params(axis="x", length=0)
        panels[-1].set_xlim(0, longest * _JOULE * 1.14)
        legend_above(figure, [(part, colours[part], None) for part in parts])
    return figure


def _sums(run: RunData) -> pd.Series:
    """Return energy by machine, method and component; what is below 1 % everywhere is one."""
    keys = ["machine", "method", "component"]
    sums = run.tables["energy"].groupby(keys)["energy_pj"].sum()
    shares = sums / sums.groupby(["machine", "method"]).transform("sum")
    small = shares.groupby("component").max() < _SMALL
    names = [OTHER if small[name] else name for name in sums.index.get_level_values("component")]
    return (
        sums.groupby([sums.index.get_level_values(key) for key in keys[:2]] + [names])
        .sum()
        .rename_axis(keys)
    )


def _panel(axes: Axes, bars: dict[str, pd.Series], colours: dict[str, str]) -> None:
    for y, own in enumerate(bars.values()):
        total = stack(
            axes, y, [(float(own.get(p, 0)) * _JOULE, c, None) for p, c in colours.items()]
        )
        axes.text(
            total, y, " " + words.energy(total / _JOULE), va="center", color=INK, fontweight="bold"
        )
    y_names(axes, [words.trace_name(name) for name in bars])


def takeaway(run: RunData) -> str:
    """Name the part that spends most and the gain over the unpruned trace."""
    table = run.table("energy", run.method, run.machine)
    own = table.groupby("component")["energy_pj"].sum().sort_values()
    if own.empty or own.sum() <= 0:
        return "No energy was counted."
    share = words.percent(own.iloc[-1] / own.sum())
    text = f"{own.index[-1]} takes {share} of the energy of {run.method} on {run.machine}"
    row, base = run.row(run.method, run.machine), run.row("dense", run.machine)
    if run.has_baseline and row is not None and base is not None:
        gain = words.gain(base["energy_pj"], row["energy_pj"], "energy", fewer="less")
        text += f"; against the unpruned trace: {gain}"
    return text + "."
