"""The roofline: which of compute and bandwidth bounds each trace, and how far away it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reports import words
from reports.figures.style import (
    INK,
    NothingToDraw,
    method_colour,
    new_figure,
    styled,
)
from reports.run_data import RunData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Roofline: bound by compute or by bandwidth"
CAPTION = (
    "Operations performed per second against operations per DRAM byte; 1 multiplication and "
    "its addition are 2 operations. No point can lie above its machine's roof: the slope is DRAM "
    "bandwidth, the flat part all multipliers busy. A pruned trace does less work, so a lower "
    "point may still be faster."
)
_MARKS = ("o", "s", "D", "^", "v")


def draw(run: RunData) -> Figure:
    """Draw one roof per distinct machine peak and one point per trace and machine."""
    rows = run.rows[(run.rows["operational_intensity"] > 0) & (run.rows["throughput_gops"] > 0)]
    rows = rows[np.isfinite(rows["operational_intensity"])]
    if rows.empty:
        raise NothingToDraw("no result has both operations and DRAM bytes")
    with styled():
        figure = new_figure(3.9)
        axes, key = figure.subplots(1, 2, width_ratios=(2.5, 1))
        _scales(axes, rows)
        _roofs(axes, rows)
        _points(axes, rows, run)
        _key(key, rows, run)
    return figure


def _scales(axes: Axes, rows: pd.DataFrame) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    knees = rows["peak_gops"] / rows["peak_gb_per_s"]
    low = min(rows["operational_intensity"].min(), knees.min()) / 4
    high = max(rows["operational_intensity"].max(), knees.max()) * 4
    bottom = min(rows["throughput_gops"].min() / 3, rows["peak_gops"].min() / 30)
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set_ylim(bottom, rows["peak_gops"].max() * 2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("operational intensity, operations per DRAM byte")
    axes.set_ylabel("throughput, 10⁹ operations/s")
    axes.grid(True, which="major")


def _roofs(axes: Axes, rows: pd.DataFrame) -> None:
    low, high = axes.get_xlim()
    bottom, _ = axes.get_ylim()
    peaks = rows.groupby(["peak_gops", "peak_gb_per_s"], sort=False)["machine"].unique()
    for (gops, gb_per_s), machines in peaks.items():
        x = np.array([low, gops / gb_per_s, high])
        axes.plot(x, np.minimum(gops, x * gb_per_s), color=INK, linewidth=1.8, zorder=2)
        axes.annotate(
            f"{words.join(sorted(machines))}: {words.number(gops)}",
            (high, gops),
            xytext=(-4, 5),
            textcoords="offset points",
            ha="right",
        )
        start = max(low, bottom / gb_per_s)
        middle = float(np.sqrt(start * gops / gb_per_s))
        axes.annotate(
            f"{words.number(gb_per_s)} GB/s",
            (middle, middle * gb_per_s),
            xytext=(8, -4),
            textcoords="offset points",
            va="top",
        )


def _look(row: pd.Series, run: RunData) -> dict[str, Any]:
    """Return colour by method and shape by machine; the studied machine is filled."""
    colour = method_colour(row["method"], run.methods)
    at = run.machines.index(row["machine"])
    return {
        "marker": _MARKS[at % len(_MARKS)],
        "markerfacecolor": colour if at == 0 else "white",
        "markeredgecolor": colour,
        "markeredgewidth": 2,
        "markersize": 9,
        "linestyle": "none",
    }


def _points(axes: Axes, rows: pd.DataFrame, run: RunData) -> None:
    order = [run.machines.index(name) for name in rows["machine"]]
    for at in np.argsort(order)[::-1]:  # the studied machine last, on top
        row = rows.iloc[int(at)]
        point = (row["operational_intensity"], row["throughput_gops"])
        axes.plot(*point, zorder=4, clip_on=False, **_look(row, run))


def _key(axes: Axes, rows: pd.DataFrame, run: RunData) -> None:
    """List the points, best use of their roof first."""
    axes.axis("off")
    roof = np.minimum(rows["peak_gops"], rows["operational_intensity"] * rows["peak_gb_per_s"])
    used = (rows["throughput_gops"] / roof).sort_values(ascending=False)
    axes.set(xlim=(0, 1), ylim=(max(len(used), 7) + 0.5, -0.8))
    axes.text(0, -0.2, "share of the roof reached", fontweight="bold", fontsize=10.5)
    for y, (at, share) in enumerate(used.items(), start=1):
        row = rows.loc[at]
        axes.plot(0.04, y - 0.08, **_look(row, run))
        axes.text(
            0.12,
            y,
            f"{words.trace_name(row['method'])} on {row['machine']}: {words.percent(share)}",
            va="center",
            fontweight="bold" if row["method"] == run.method else "normal",
        )


def takeaway(run: RunData) -> str:
    """Say which bound is nearer for the studied trace, and how near it is."""
    row = run.row(run.method, run.machine)
    if row is None or not row["cycles"]:
        return "Nothing ran."
    compute = row["bound_compute_cycles"] / row["cycles"]
    bandwidth = row["bound_bandwidth_cycles"] / row["cycles"]
    which = "compute" if compute >= bandwidth else "DRAM bandwidth"
    return (
        f"{run.method} on {run.machine} is nearer to its {which} bound: no schedule could take "
        f"less than {words.percent(max(compute, bandwidth))} of these cycles."
    )
