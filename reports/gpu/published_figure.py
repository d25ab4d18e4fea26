"""The figure of modelled over measured times, drawn from its table alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.figures.style import FAINT, GRID, INK, new_figure, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "a100": "#0072B2",
    "a100-40": "#56B4E9",
    "h100": "#D55E00",
    "h200": "#882255",
    "h800": "#CC79A7",
    "b200": "#332288",
    "v100": "#009E73",
    "titan-xp": "#117733",
    "rtx-4090": "#999933",
    "rtx-6000-ada": "#E69F00",
}
_FAMILIES = {
    "P": ("attention, prompt", "o"),
    "D": ("attention, decode", "s"),
    "G": ("matrix products", "^"),
    "E": ("rows and top-k", "D"),
    "X": ("sparse or pruned", "v"),
}
"""first letter of a row's id -> words, marker"""
_BANDS = ((0.35, "#f1f3f5"), (0.15, "#dfe3e8"))


def draw_published(table: pd.DataFrame) -> Figure:
    """Draw modelled over measured times: shape by family, colour by device.

    Hollow marks set a curve; full ones judge the model. Above: the times; below: their ratio.

    Args:
        table: of `reports.gpu.published.published_table`.
    """
    rows = table[table["deviation"].notna()]
    with styled():
        figure = new_figure(7.2)
        times, ratios = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
        _bands(times, rows, ratio=False)
        _bands(ratios, rows, ratio=True)
        for _, row in rows.iterrows():
            look = _look(row)
            times.plot(row["measured_ns"] / 1e3, row["modelled_ns"] / 1e3, **look)
            ratios.plot(row["measured_ns"] / 1e3, 1 + row["deviation"], **look)
            if row["reason"]:
                _name(ratios, row)
        times.set_ylabel("modelled, µs")
        ratios.set_ylabel("modelled / measured")
        ratios.set_xlabel("measured, µs (published)")
        times.set_title("GPU kernels: modelled times over published measurements")
        _legends(times, rows)
    return figure


def _bands(axes: Axes, rows: pd.DataFrame, *, ratio: bool) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    low, high = rows["measured_ns"].min() / 1e3 / 2, rows["measured_ns"].max() / 1e3 * 2
    for share, colour in _BANDS:
        bottom, top = 1 - share, 1 + share
        ends = ((bottom, bottom), (top, top))
        if not ratio:
            ends = ((low * bottom, high * bottom), (low * top, high * top))
        axes.fill_between((low, high), *ends, color=colour, linewidth=0)
        if ratio:
            axes.annotate(
                f"±{share:.0%}",
                (high, top),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                color=FAINT,
                fontsize=8.5,
                annotation_clip=False,
            )
    axes.plot((low, high), (1, 1) if ratio else (low, high), color=INK, linewidth=1)
    axes.set(xscale="log", xlim=(low, high))
    axes.grid(True, which="major", color=GRID)
    plain = FuncFormatter(lambda value, _: f"{value:,.7g}")
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if not ratio:
        axes.set(yscale="log", ylim=(low, high))
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(NullFormatter())


def _look(row: pd.Series) -> dict[str, Any]:
    colour = _COLOURS[row["device"]]
    return {
        "marker": _FAMILIES[row["id"][0]][1],
        "markerfacecolor": "white" if row["role"] == "curve" else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 1.3,
        "markersize": 6,
        "linestyle": "none",
    }


def _name(axes: Axes, row: pd.Series) -> None:
    axes.annotate(
        row["id"],
        (row["measured_ns"] / 1e3, 1 + row["deviation"]),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
    )


def _legends(axes: Axes, rows: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    def mark(label: str, marker: str, colour: str, face: str) -> Line2D:
        return Line2D(
            [], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face, label=label
        )

    devices = [name for name in _COLOURS if name in set(rows["device"])]
    first = axes.legend(
        handles=[mark(name, "o", _COLOURS[name], _COLOURS[name]) for name in devices],
        loc="upper left",
        fontsize=8.5,
        handletextpad=0.2,
    )
    axes.add_artist(first)
    families = [mark(words, marker, INK, INK) for words, marker in _FAMILIES.values()]
    axes.legend(
        handles=[*families, mark("hollow: sets a curve", "o", INK, "white")],
        loc="lower right",
        fontsize=8.5,
        handletextpad=0.2,
    )
