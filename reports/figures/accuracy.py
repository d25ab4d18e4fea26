"""Accuracy of every trace: what pruning costs, and what judgement is worth over chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import words
from reports.figures.style import FAINT, NothingToDraw, method_colour, new_figure, styled, y_names
from reports.run_data import BASELINE, CONTROL, RunData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "What pruning costs in accuracy"
CAPTION = (
    "Each dot is one trace, measured on the outputs of the model that made it; agreements are with "
    "the model in full precision."
)

_ON_OTHER_SCALES = ("retrieval", "nats", "perplexity", "dense", "contexts_kept")


def draw(run: RunData) -> Figure:
    """Draw one line per accuracy and one dot per method; the numbers stand in columns beside."""
    values = agreements(run)
    if values.empty:
        raise NothingToDraw("no accuracy was measured for these traces")
    with styled():
        figure = new_figure(1.05 + 0.42 * len(values.columns))
        axes = figure.subplots()
        low = min(0.0, float(values.min().min()))
        for y, column in enumerate(values.columns):
            axes.plot([low, 1], [y, y], color="#d5d9de", linewidth=1, zorder=1)
            for method in values.index:
                colour = method_colour(method, run.methods)
                axes.plot(values.at[method, column], y, "o", color=colour, markersize=9, zorder=3)
        _numbers(axes, values, run.methods)
        y_names(axes, [words.metric(name) for name in values.columns])
        axes.set_xlim(low - 0.02, 1.02)
        axes.set_xlabel("share or agreement; 1 is best")
        axes.grid(True, axis="x")
    return figure


def agreements(run: RunData) -> pd.DataFrame:
    """Return the accuracies that are shares or agreements, of which 1 is the best."""
    values = run.accuracies
    return values[[n for n in values.columns if not any(word in n for word in _ON_OTHER_SCALES)]]


def _numbers(axes: Axes, values: pd.DataFrame, methods: list[str]) -> None:
    """Write one coloured column per method at the right of the axes."""
    right = 0.0
    for method in values.index:
        right += max(72.0, 7.5 * len(method))
        colour = FAINT if method == BASELINE else method_colour(method, methods)
        shown = [(-0.75, words.trace_name(method))]
        shown += [(y, f"{value:.3f}") for y, value in enumerate(values.loc[method])]
        for y, text in shown:
            axes.annotate(
                text,
                (1.0, y),
                xycoords=("axes fraction", "data"),
                xytext=(right - 6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                color=colour,
                fontweight="normal" if method in (BASELINE, CONTROL) else "bold",
                annotation_clip=False,
            )


def takeaway(run: RunData) -> str:
    """Compare the studied method with the unpruned trace and with chance."""
    values = agreements(run)
    if run.method not in values.index:
        return "No accuracy was measured for the studied method."
    column = values.columns[0]
    own = values.at[run.method, column]
    text = f"{run.method} has a {words.metric(column)} of {own:.3f}"
    if run.method != BASELINE and BASELINE in values.index:
        text += f", unpruned it is {values.at[BASELINE, column]:.3f}"
    if CONTROL in values.index and run.method != CONTROL:
        text += f"; {values.at[CONTROL, column]:.3f} if as much is removed without looking at data"
    return text + "."
