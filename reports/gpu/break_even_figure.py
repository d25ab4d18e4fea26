"""The break-even figure: time over sparsity, the dense control as a line, where they cross."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports import words
from reports.figures.style import FAINT, INK, STUDIED, UNPRUNED, new_figure, styled
from reports.gpu.break_even import Curve
from workloads.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 2


def draw_break_even(curves: Sequence[Curve]) -> Figure:
    """Draw one panel for each curve; each says whether its times are measured or modelled.

    Raises:
        InputError: no curve.
    """
    if not curves:
        raise InputError("break-even figure must have a curve, there is none")
    columns = min(_COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    with styled():
        figure = new_figure(0.3 + 2.5 * rows)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, curve in zip(grid, curves, strict=False):
            _draw(axes, curve)
        for axes in grid[len(curves) :]:
            axes.set_axis_off()
    return figure


def _draw(axes: Axes, curve: Curve) -> None:
    from matplotlib.ticker import EngFormatter, PercentFormatter

    seconds = [time * 1e-9 for time in curve.times_ns]
    control = curve.control_ns * 1e-9
    top = 1.22 * max(*seconds, control)
    mark = "o" if curve.source.startswith("measured:") else None  # a model has no points
    axes.plot(curve.shares, seconds, color=STUDIED, marker=mark, markersize=3.5, linewidth=1.6)
    axes.axhline(control, color=UNPRUNED, linewidth=1.6, linestyle="--")
    where = curve.break_even
    early = where is not None and where <= 0.5  # the curve is above the line only left of it
    axes.annotate(
        f"{curve.control}, nothing left out",
        (1 if early or where is None else 0.02, control),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4 if early else -5),
        textcoords="offset points",
        ha="right" if early or where is None else "left",
        va="bottom" if early else "top",
        color=FAINT,
        fontsize=8,
    )
    if where is not None and where > curve.shares[0]:
        axes.axvline(where, color=INK, linewidth=0.8, linestyle=":")
        axes.plot([where], [control], "o", color=INK, markersize=5)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    look = {"fontsize": 8.5, "weight": "bold", "bbox": box, "zorder": 5}
    axes.text(0.02, 0.05, _said(curve), transform=axes.transAxes, **look)
    axes.set_ylim(0, top)
    axes.set_xlim(min(0.0, curve.shares[0]), 1)
    axes.set_title(textwrap.fill(f"{curve.kernel}, {curve.shape}", 44), fontsize=9)
    axes.set_xlabel(textwrap.fill(curve.sparsity, 48), fontsize=8.5)
    axes.set_ylabel(f"time ({curve.source})", fontsize=8.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(EngFormatter("s", sep=" "))
    axes.tick_params(labelsize=8)
    axes.grid(True)


def _said(curve: Curve) -> str:
    where = curve.break_even
    if where is None:
        return "never faster"
    return "always faster" if where <= curve.shares[0] else f"faster from {words.percent(where)} on"
