"""Tokens and heads alive, layer by layer: what the method removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports import words
from reports.figures.style import (
    UNPRUNED,
    NothingToDraw,
    method_colour,
    new_figure,
    styled,
)
from reports.run_data import BASELINE, RunData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "What was removed: tokens and heads alive"
CAPTION = (
    "Mean over the inputs of what enters each layer. The grey line is the unpruned model. "
    "Pruned tokens and heads stay gone in all later layers."
)


def draw(run: RunData) -> Figure:
    """Draw tokens on the left and heads on the right, one line per method."""
    layers = {method: run.table("layers", method, run.machine) for method in run.methods}
    layers = {method: table for method, table in layers.items() if len(table)}
    if not layers:
        raise NothingToDraw("the run has no rows per layer")
    with styled():
        figure = new_figure(2.9)
        tokens, heads = figure.subplots(1, 2)
        for axes, what in ((tokens, "tokens"), (heads, "heads")):
            _panel(axes, layers, what, run)
    return figure


def _panel(axes: Axes, layers: dict[str, pd.DataFrame], what: str, run: RunData) -> None:
    first = next(iter(layers.values()))
    dense = first[f"{what}_dense"].to_numpy(float)
    x = first["layer"].to_numpy()
    ends: list[tuple[float, str, str]] = [(dense[-1], "unpruned", UNPRUNED)]
    axes.plot(x, dense, color=UNPRUNED, linewidth=2, marker="o", markersize=4)
    drawn: list[np.ndarray] = []
    for method in reversed(run.methods):
        if method == BASELINE or method not in layers:
            continue
        alive = layers[method][f"{what}_alive"].to_numpy(float)
        colour = method_colour(method, run.methods)
        same = next((i for i, other in enumerate(drawn) if _alike(alive, other)), None)
        if same is not None:  # one line for both: say so at its end
            value, text, shared = ends[same + 1]
            ends[same + 1] = (value, f"{text}\nand {method}", shared)
            continue
        drawn.append(alive)
        own = layers[method]["layer"].to_numpy()
        axes.plot(own, alive, color=colour, linewidth=2.2, marker="o", markersize=5)
        share = alive[-1] / dense[-1] if dense[-1] else 0.0
        ends.append((alive[-1], f"{method} {words.percent(share)}", colour))
    top = max(float(dense.max()), 1.0)
    _label_ends(axes, float(x[-1]), ends, top)
    axes.set_ylim(0, top * 1.08)
    axes.set_xlim(x[0] - 0.25, x[-1] + 0.25)
    axes.set_xticks(x if len(x) <= 16 else x[:: len(x) // 8])
    axes.set_xlabel("layer")
    axes.set_title(f"{what} entering the layer")
    axes.grid(True, axis="y")


def _alike(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and bool(np.allclose(left, right, 0.02))


def _label_ends(axes: Axes, x: float, ends: list[tuple[float, str, str]], top: float) -> None:
    """Write each line's name after its end, moved apart where two would touch."""
    floor = -np.inf
    for value, text, colour in sorted(ends, key=lambda end: end[0]):
        height = max(value, floor)
        floor = height + 0.09 * top * (1 + text.count("\n"))
        axes.annotate(
            text,
            (x, height),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
            fontweight="normal" if text == "unpruned" else "bold",
            fontsize=9.5,
        )


def takeaway(run: RunData) -> str:
    """Say what is left in the last layer."""
    table = run.table("layers", run.method, run.machine)
    if table.empty:
        return "The run has no rows per layer."
    last = table.iloc[-1]
    tokens = words.percent(last["tokens_alive"] / last["tokens_dense"])
    heads = f"{words.mean(last['heads_alive'])} of {last['heads_dense']:.0f} heads"
    return f"In the last layer {run.method} works with {tokens} of the tokens and {heads}."
