"""Figures of the AccLLM reproduction."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reports import words
from reports.figures.style import (
    BUSY,
    FAINT,
    INK,
    MEMORY,
    STUDIED,
    UNPRUNED,
    legend_above,
    lighter,
    new_figure,
    styled,
    y_names,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Point(NamedTuple):
    """An operator on the roofline."""

    name: str
    intensity: float  # operations per DRAM byte
    gops: float


def draw_contexts(window: dict[int, float], whole: dict[int, float], published: float) -> Figure:
    """Draw tokens a second against keys, with the window and with all keys."""
    with styled():
        figure = new_figure(3.4)
        axes = figure.subplots()
        axes.axhline(published, color=UNPRUNED, linestyle="--", linewidth=1.2)
        axes.annotate(f"published: {published:.0f}", (min(window), published), xytext=(0, 4),
                      textcoords="offset points", color=FAINT)  # fmt: skip
        for rates, colour, marker in ((window, STUDIED, "o"), (whole, MEMORY, "s")):
            axes.plot(list(rates), list(rates.values()), marker=marker, color=colour, linewidth=2)
        for keys, value in whole.items():
            if value < 0.95 * window[keys]:
                axes.annotate(words.number(value), (keys, value), xytext=(0, -14), ha="center",
                              textcoords="offset points", color=INK)  # fmt: skip
        last = max(window)
        axes.annotate(words.number(window[last]), (last, window[last]), xytext=(0, -14),
                      ha="center", textcoords="offset points", color=INK)  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(window), [f"{keys:,}" for keys in window])
        axes.set_ylim(0, 1.2 * published)
        axes.set_xlabel("keys that the token attends to, its own included")
        axes.set_ylabel("tokens a second")
        axes.grid(True, axis="y")
        legend_above(figure, [("window of 4 + 2,044", STUDIED, None), ("all keys", MEMORY, None)])
    return figure


def draw_ablation(rows: list[tuple[str, float, float | None, float | None]]) -> Figure:
    """Draw gains: (technique, published, left out alone, one after another)."""
    looks = (("published", UNPRUNED), ("ours, left out alone", STUDIED),
             ("ours, one after another", lighter(STUDIED)))  # fmt: skip
    with styled():
        figure = new_figure(0.9 + 0.72 * len(rows))
        axes = figure.subplots()
        for y, (_, *values) in enumerate(rows):
            for at, (value, (_, colour)) in enumerate(zip(values, looks, strict=True)):
                if value is None:
                    continue
                here = y + 0.27 * (at - 1)
                axes.barh(here, value, height=0.25, color=colour)
                axes.text(value + 0.03, here, f"{value:.2f}×", va="center", fontsize=9)
        axes.axvline(1.0, color=INK, linewidth=0.8)
        axes.set_xlabel("times faster with the technique than without")
        axes.set_xlim(0, 2.5)
        y_names(axes, [name for name, *_ in rows])
        legend_above(figure, [(name, colour, None) for name, colour in looks])
    return figure


def draw_roofline(
    decode: list[Point], prefill: list[Point], gops: tuple[float, float], gb_per_s: float
) -> Figure:
    """Draw operators under the roofs of one token and of a tile of tokens."""
    with styled():
        figure = new_figure(4.2)
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log", xlim=(0.9, 3000), ylim=(100, 8000))
        x = np.geomspace(0.9, 3000, 200)
        for peak, name, style in zip(gops, ("one token", "a tile of 64 tokens"), ("--", "-"),
                                     strict=True):  # fmt: skip
            axes.plot(x, np.minimum(peak, x * gb_per_s), color=INK, linestyle=style, zorder=1)
            axes.annotate(f"{name}: {words.number(peak)}", (3000, peak), xytext=(-4, 5),
                          textcoords="offset points", ha="right")  # fmt: skip
        axes.annotate(f"{gb_per_s:.0f} GB/s", (2.6, 2.6 * gb_per_s), xytext=(-6, 6), ha="right",
                      textcoords="offset points")  # fmt: skip
        _points(axes, decode, STUDIED, "o")
        _points(axes, prefill, MEMORY, "s")
        from matplotlib.ticker import FuncFormatter, NullFormatter

        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.7g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("operations per DRAM byte")
        axes.set_ylabel("10⁹ operations/s")
        axes.grid(True, which="major")
        legend_above(figure, [("decoding", STUDIED, None), ("prefill of 512 tokens", MEMORY, None)])
    return figure


def _points(axes: Axes, points: list[Point], colour: str, marker: str) -> None:
    """Draw points; those that lie together share a name."""
    for group in together(points):
        x, y = (float(np.mean([point[at] for point in group])) for at in (1, 2))
        for point in group:
            axes.plot(point.intensity, point.gops, marker, color=colour, markersize=8, zorder=3)
        axes.annotate(", ".join(point.name for point in group), (x, y), xytext=(8, -14),
                      textcoords="offset points", color=BUSY, fontsize=9.5)  # fmt: skip


def together(points: list[Point]) -> list[list[Point]]:
    """Return points in groups that lie within a quarter of each other."""
    groups: list[list[Point]] = []
    for point in points:
        for group in groups:
            first = group[0]
            ratios = (point.intensity / first.intensity, point.gops / first.gops)
            if all(0.8 < ratio < 1.25 for ratio in ratios):
                group.append(point)
                break
        else:
            groups.append([point])
    return groups
