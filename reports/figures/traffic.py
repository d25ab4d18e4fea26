"""DRAM bytes by tensor and bit plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import words
from reports.figures.style import (
    INK,
    TENSORS,
    NothingToDraw,
    legend_above,
    lighter,
    new_figure,
    scaled_axis,
    stack,
    styled,
    text_on,
    y_names,
)
from reports.run_data import RunData

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "What was fetched: DRAM bytes by tensor and bit plane"
CAPTION = (
    "Bytes moved, in whole DRAM transactions. The first plane (MSB) is always fetched; the second "
    "(LSB, light and hatched) only for queries that need it."
)
_OTHER = "#5b6470"


def draw(run: RunData) -> Figure:
    """Draw one stacked bar per trace on the studied machine."""
    tables = {m: run.table("traffic", m, run.machine) for m in run.methods}
    tables = {m: table for m, table in tables.items() if table["transferred_bytes"].sum() > 0}
    if not tables:
        raise NothingToDraw("the run moved no DRAM bytes")
    keys = list(
        dict.fromkeys(
            (str(t), str(p))
            for table in tables.values()
            for t, p in table.loc[table["transferred_bytes"] > 0, ["tensor", "plane"]].to_numpy()
        )
    )
    keys.sort(
        key=lambda key: (list(TENSORS).index(key[0]) if key[0] in TENSORS else 9, key[1] == "LSB")
    )
    with styled():
        figure = new_figure(1.15 + 0.5 * len(tables))
        axes = figure.subplots()
        longest = max(int(table["transferred_bytes"].sum()) for table in tables.values())
        for y, table in enumerate(tables.values()):
            _bar(axes, y, table, keys, longest)
        y_names(axes, [words.trace_name(method) for method in tables])
        scaled_axis(axes, "x", f"moved from DRAM on {run.machine}", "B")
        axes.set_xlim(0, longest * 1.13)
        legend_above(figure, [(f"{t} {p}", *_look(t, p)) for t, p in keys])
    return figure


def _look(tensor: str, plane: str) -> tuple[str, str | None]:
    colour = TENSORS.get(tensor, _OTHER)
    return (lighter(colour), "///") if plane == "LSB" else (colour, None)


def _bar(
    axes: Axes, y: int, table: pd.DataFrame, keys: list[tuple[str, str]], longest: int
) -> None:
    sizes = table.groupby(["tensor", "plane"])["transferred_bytes"].sum()
    values = [float(sizes.get(key, 0)) for key in keys]
    total = stack(axes, y, [(v, *_look(*key)) for v, key in zip(values, keys, strict=True)])
    left = 0.0
    for value, key in zip(values, keys, strict=True):
        if value / longest > 0.12 and key[1] != "LSB":
            axes.text(
                left + value / 2,
                y,
                f"{key[0]} {words.size(value)}",
                ha="center",
                va="center",
                color=text_on(_look(*key)[0]),
                fontsize=9.5,
            )
        left += value
    axes.text(
        total, y, " " + words.size(total), va="center", color=INK, fontsize=10, fontweight="bold"
    )


def takeaway(run: RunData) -> str:
    """Compare the bytes of the studied trace with the unpruned one, and say what LSBs cost."""
    table = run.table("traffic", run.method, run.machine)
    total = float(table["transferred_bytes"].sum())
    if total <= 0:
        return "No DRAM bytes were moved."
    text = f"{run.method} moves {words.size(total)}"
    if run.has_baseline:
        base = float(run.table("traffic", "dense", run.machine)["transferred_bytes"].sum())
        text += f", {words.gain(base, total, 'bytes')} than unpruned"
        text = text.replace("the same bytes than", "the same bytes as")
    late = float(table.loc[table["plane"] == "LSB", "transferred_bytes"].sum())
    if late > 0:
        text += f"; refetching LSBs costs {words.percent(late / total)} of it"
    return text + "."
