"""Cycles and energy of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports import words
from reports.figures.style import (
    NothingToDraw,
    legend_above,
    method_colour,
    new_figure,
    scaled_axis,
    styled,
)
from reports.run_data import BASELINE, RunData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TITLE = "Layer by layer: cycles and energy"
CAPTION = (
    "A layer's cycles run from its first to its last activity, summed over the inputs; "
    "energy includes its share of static power."
)


def draw(run: RunData) -> Figure:
    """Draw cycles on the left and energy on the right, a pair of bars per layer."""
    tables = _tables(run)
    if not tables:
        raise NothingToDraw("the run has no rows per layer")
    with styled():
        figure = new_figure(3.0)
        panels = figure.subplots(1, 2)
        width = 0.8 / len(tables)
        for axes, column, factor, unit in (
            (panels[0], "cycles", 1.0, ""),
            (panels[1], "energy_pj", 1e-12, "J"),
        ):
            label = column.partition("_")[0]
            for at, (method, table) in enumerate(tables.items()):
                x = table["layer"].to_numpy(float) + (at - (len(tables) - 1) / 2) * width
                colour = method_colour(method, run.methods)
                axes.bar(x, table[column].to_numpy(float) * factor, width * 0.94, color=colour)
            layers = next(iter(tables.values()))["layer"].to_numpy()
            axes.set_xticks(layers if len(layers) <= 16 else layers[:: len(layers) // 8])
            axes.set_xlim(layers[0] - 0.6, layers[-1] + 0.6)
            axes.tick_params(axis="x", length=0)
            axes.set_xlabel("layer")
            axes.set_title(f"{label} per layer on {run.machine}")
            scaled_axis(axes, "y", label, unit)
        legend_above(
            figure, [(words.trace_name(m), method_colour(m, run.methods), None) for m in tables]
        )
    return figure


def _tables(run: RunData) -> dict[str, pd.DataFrame]:
    tables = {method: run.table("layers", method, run.machine) for method in run.compared}
    return {method: table for method, table in tables.items() if len(table)}


def takeaway(run: RunData) -> str:
    """Compare the gain in the first and in the last layer."""
    tables = _tables(run)
    if not run.has_baseline or len(tables) < 2:
        return "There is no unpruned trace in this run to compare with."
    base = tables[BASELINE]["cycles"].to_numpy(float)
    own = tables[run.method]["cycles"].to_numpy(float)
    gains = np.divide(base, own, out=np.ones_like(base), where=own > 0)
    first, last = words.times(float(gains[0])), words.times(float(gains[-1]))
    return f"The gain in cycles goes from {first} in the first layer to {last} in the last."
