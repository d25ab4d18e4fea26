"""The figure of `prunesim ladder`, drawn from its table alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.figures.style import INK, RANDOM, STUDIED, UNPRUNED, new_figure, styled, y_names

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_ladder(rows: pd.DataFrame) -> Figure:
    """Draw one line a step: how far its perplexity is from the unpruned model's.

    Args:
        rows: the table: model, prune, step, perplexity, with the unpruned model first.
    """
    values, steps = rows["perplexity"].tolist(), rows["step"].tolist()
    with styled():
        figure = new_figure(1.0 + 0.34 * len(rows))
        axes = figure.subplots()
        axes.axvline(values[0], color=UNPRUNED, linewidth=1)
        for y, (step, value) in enumerate(zip(steps, values, strict=True)):
            colour = UNPRUNED if y == 0 else RANDOM if "random" in step else STUDIED
            axes.plot([values[0], value], [y, y], color=colour, linewidth=2)
            axes.plot(value, y, "o", color=colour, markersize=8)
            axes.annotate(
                f"{value:.3f}",
                (1.0, y),
                xycoords=("axes fraction", "data"),
                xytext=(44, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                color=INK,
                annotation_clip=False,
            )
        axes.set_xscale("log")
        _plain_ticks(axes)
        axes.set_xlabel("perplexity a token on held-out text (logarithmic)")
        axes.grid(True, axis="x")
        axes.set_title(f"{rows['model'].iloc[0]}, pruned by {rows['prune'].iloc[0]}")
        y_names(axes, steps)
    return figure


def _plain_ticks(axes: Axes) -> None:
    """Write the ticks of a logarithmic axis as plain numbers: 1, 2, 5, 10."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
