"""The table and the figure of a comparison, from its rows alone."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.comparison.points import MEASURES
from reports.console import print_json, print_line, print_table
from reports.figures.style import INK, RANDOM, STUDIED, UNPRUNED, lighter, new_figure, save, styled
from reports.summary import TextTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE = "compare.svg"
_CONTROLS = ("random", "recent", "uniform", "norm")  # words in the names of null baselines


def show(table: pd.DataFrame, kind: str, out: Path, title: str, *, as_json: bool) -> None:
    """Draw the figure and print the table, or both as JSON."""
    save(draw(table, kind, title), out / FIGURE)
    if as_json:
        rows = table.astype(object).where(table.notna(), None)
        print_json({"rows": rows.to_dict("records"), "figure": str(out / FIGURE)})
        return
    print_line(title)
    print_table(text_table(table, kind))
    print_line(f"figure and table: {out}")


def text_table(table: pd.DataFrame, kind: str) -> TextTable:
    """Return one line a point; costs are shares of the unpruned model's."""
    measure, _ = MEASURES[kind]
    dense = table[table["method"] == "dense"].iloc[0]
    rows = []
    for row in table.to_dict("records"):
        budget = "" if isnan(row["budget"]) else f"{row['budget']:g}"
        if isinstance(row["refused"], str):
            rows.append([row["method"], budget, *[""] * 4, row["refused"]])
            continue
        shares = [row[name] / dense[name] for name in ("offered", "dram_bytes", "cycles")]
        rows.append(
            [row["method"], budget, f"{row[measure]:.4f}", *(f"{s:.3f}" for s in shares), ""]
        )
    columns = ["method", "budget", measure, "offered", "DRAM bytes", "cycles", "refused"]
    return TextTable(columns, rows, [False, True, True, True, True, True, False])


def draw(table: pd.DataFrame, kind: str, title: str) -> Figure:
    """Draw a row a method, best at the middle budget on top, and a dot a budget.

    Args:
        table: rows of `compare`.
        kind: of the workload.
        title: what was compared.
    """
    measure, label = MEASURES[kind]
    ran = table[~table["refused"].apply(lambda reason: isinstance(reason, str))]
    dense = ran[ran["method"] == "dense"].iloc[0]
    names = _ranked(ran[ran["method"] != "dense"], measure, lower_is_better=kind == "text")
    with styled():
        figure = new_figure(1.3 + 0.24 * len(names))
        panels = figure.subplots(1, 3, sharey=True, width_ratios=(1.5, 1, 1))
        _dots(panels[0], ran, names, measure, float(dense[measure]), 1.0)
        panels[0].set_xlabel(label)
        for axes, column, what in (
            (panels[1], "dram_bytes", "DRAM bytes"),
            (panels[2], "cycles", "cycles"),
        ):
            _dots(axes, ran, names, column, 1.0, float(dense[column]))
            axes.set_xlabel(f"{what} / unpruned")
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        for axes in panels:
            axes.grid(True)
            axes.tick_params(axis="y", length=0)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold", color=INK)
        _legend(panels[2], sorted(ran["budget"].dropna().unique()))
    return figure


def _ranked(rows: pd.DataFrame, measure: str, *, lower_is_better: bool) -> list[str]:
    middle = rows.groupby("method", sort=False)[measure].median()
    return [str(name) for name in middle.sort_values(ascending=lower_is_better).index]


def _dots(
    axes: Axes, rows: pd.DataFrame, names: list[str], column: str, line: float, unit: float
) -> None:
    axes.axvline(line, color=UNPRUNED, linewidth=1.2)
    budgets = sorted(rows["budget"].dropna().unique())
    for y, name in enumerate(names):
        own = rows[rows["method"] == name].sort_values("budget")
        colour = RANDOM if any(word in name for word in _CONTROLS) else STUDIED
        values = (own[column] / unit).tolist()
        axes.plot(values, [y] * len(values), color=lighter(colour, 0.6), linewidth=1.2, zorder=1)
        for value, budget in zip(values, own["budget"].tolist(), strict=True):
            axes.plot(value, y, "o", color=_tint(colour, budget, budgets), markersize=5.5)


def _tint(colour: str, budget: float, budgets: list[Any]) -> str:
    """Return a paler colour for smaller budgets."""
    if isnan(budget) or len(budgets) < 2:
        return colour
    return lighter(colour, 0.65 * (1 - budgets.index(budget) / (len(budgets) - 1)))


def _legend(axes: Axes, budgets: list[Any]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="", color=_tint(INK, b, budgets), label=f"{b:g}")
        for b in budgets
    ]
    handles.append(Line2D([], [], color=UNPRUNED, label="unpruned"))
    handles.append(Line2D([], [], marker="o", linestyle="", color=RANDOM, label="null baseline"))
    axes.figure.legend(
        handles=handles,
        loc="outside upper right",
        ncols=len(handles),
        title="budget",
        handletextpad=0.2,
        columnspacing=1.0,
    )
