"""The figure of `prunesim attention`, drawn from its values alone: one map a measure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from reports.figures.style import INK, new_figure, styled, text_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_NO_SHARE = ("distance", "entropy")


def draw_attention(found: dict[str, Any]) -> Figure:
    """Draw layers against heads, one map for each measure, each share coloured from 0 to 1.

    Args:
        found: `model`, `read` and `measures`, as `reports.attention.run_attention` returns them.
    """
    measures = found["measures"]
    rows = -(-len(measures) // _COLUMNS)
    layers = max(len(measure["values"]) for measure in measures)
    with styled():
        figure = new_figure(0.6 + rows * (1.0 + 0.24 * layers))
        grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, measure in zip(grid, measures, strict=False):
            _draw_map(axes, measure)
        for axes in grid[len(measures) :]:
            axes.set_axis_off()
        figure.suptitle(f"{found['model']} on {found['read']}", color=INK, fontsize=11)
    return figure


def _draw_map(axes: Axes, measure: dict[str, Any]) -> None:
    from matplotlib.colors import to_hex

    values = measure["values"]
    is_share = measure["name"] not in _NO_SHARE
    top = 1 if is_share else max(map(max, values))
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=top, aspect="auto")
    for layer, heads in enumerate(values):
        for head, value in enumerate(heads):
            colour = text_on(to_hex(image.cmap(image.norm(value))))
            text = _short(value, is_share)
            axes.text(head, layer, text, ha="center", va="center", color=colour, fontsize=6.5)
    even = "" if measure["even"] is None else f" (even: {measure['even']:.2f})"
    title = textwrap.fill(f"{measure['part']}: {measure['label']}{even}", 32)
    axes.set_title(title, fontsize=8.5)
    axes.set_xticks(range(len(values[0])))
    axes.set_yticks(range(len(values)))
    axes.set_xlabel("head", fontsize=9)
    axes.set_ylabel("layer", fontsize=9)
    axes.tick_params(length=0)


def _short(value: float, is_share: bool) -> str:
    """Write a share as .05, another number with two digits."""
    return f"{value:.2f}".removeprefix("0") if is_share else f"{value:.{1 if value < 9.95 else 0}f}"
