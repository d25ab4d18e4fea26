"""Means of each objective along each axis: small multiples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from reports.figures.style import STUDIED, NothingToDraw, lighter, new_figure, styled
from reports.sweeping.columns import Column, columns, value_text
from reports.sweeping.read import SweepData
from reports.sweeping.sensitivity import by_value, main_effects

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "What each value gives, on average"
CAPTION = (
    "Mean of the objective over all points with that value of the axis, whatever the other axes "
    "are; the band holds the middle half of the points. Panels of a row share their scale."
)
_AXES = 6  # that are drawn, those that move most
_TICKS = 4  # of an axis of numbers, at most
_ROOM = 95  # digits that fit beside one another across the whole figure
_SPREAD = 20.0  # an axis that spans more is drawn with a logarithmic scale


def draw(data: SweepData) -> Figure:
    """Draw a row an objective and a column an axis."""
    tables = _tables(data)
    if not tables:
        raise NothingToDraw("no axis takes more than one value often enough")
    known = columns(data)
    with styled():
        figure = new_figure(0.5 + 1.75 * len(data.objectives) + 0.3)
        panels = figure.subplots(len(data.objectives), len(tables), sharey="row", squeeze=False)
        for at, (line, objective) in enumerate(zip(panels, data.objectives, strict=True)):
            last = at == len(panels) - 1
            for axes, (axis, own) in zip(line, tables.items(), strict=True):
                _panel(axes, own, known[objective], room=_ROOM / len(tables), last=last)
                if last:
                    axes.set_xlabel(data.short[axis], fontsize=9)
            line[0].set_ylabel(known[objective].title.replace(" of ", " of\n"), fontsize=9)
    return figure


def _tables(data: SweepData) -> dict[str, pd.DataFrame]:
    largest = main_effects(data).groupby("axis", sort=False)["share"].max().fillna(-1.0)
    names = [str(n) for n in largest.sort_values(ascending=False, kind="stable").index[:_AXES]]
    found = {name: by_value(data, name) for name in names}
    return {name: own for name, own in found.items() if len(own)}


def _panel(axes: Axes, own: pd.DataFrame, column: Column, *, room: float, last: bool) -> None:
    numeric = _numeric(own)
    places = own["place"] if numeric else pd.Series(range(len(own)), dtype=float)
    middle, low, high = (
        own[f"{column.name}_{part}"] / column.factor for part in ("mean", "low", "high")
    )
    if numeric:
        axes.fill_between(places, low, high, color=lighter(STUDIED, 0.8), linewidth=0)
        axes.plot(places, middle, "o-", color=STUDIED, markersize=4, linewidth=1.4)
        log = bool(places.min() > 0 and places.max() / places.min() >= _SPREAD)
        if log:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks(*ticks(places.tolist(), room, log=log))
    else:
        axes.vlines(places, low, high, color=lighter(STUDIED, 0.7), linewidth=5)
        axes.plot(places, middle, "o", color=STUDIED, markersize=5)
        axes.set_xlim(-0.6, len(own) - 0.4)
        axes.set_xticks(places, own["value"], rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="both", labelsize=8, labelbottom=last)
    axes.grid(True, axis="y")


def _numeric(own: pd.DataFrame) -> bool:
    texts = own["value"].str.partition(" to ")[0]
    return bool(pd.to_numeric(texts, errors="coerce").notna().all())


def ticks(places: list[float], room: float, *, log: bool) -> tuple[list[float], list[str]]:
    """Return at most four ticks, the ends among them, and their labels, which do not touch.

    Args:
        places: of the values, rising.
        room: digits that fit beside one another.
        log: the scale is logarithmic.
    """
    count = min(len(places), _TICKS)
    picked = [places[round(i * (len(places) - 1) / max(count - 1, 1))] for i in range(count)]
    first, last = (math.log(places[i]) if log else places[i] for i in (0, -1))

    def span(place: float) -> tuple[float, float]:
        at = ((math.log(place) if log else place) - first) / ((last - first) or 1.0) * room
        half = (len(value_text(place)) + 1) / 2
        return at - half, at + half

    kept = [picked[0]]
    for place in picked[1:-1]:
        if span(kept[-1])[1] <= span(place)[0] and span(place)[1] <= span(picked[-1])[0]:
            kept.append(place)
    kept += picked[-1:] if count > 1 else []
    return kept, [value_text(place) for place in kept]


def takeaway(data: SweepData) -> str:
    """Say how far the means of the first objective move along its strongest axis."""
    effects = main_effects(data).dropna(subset="share")
    first = next(iter(data.objectives))
    own = effects[effects["objective"] == first]
    if own.empty:
        return "No axis moves the first objective."
    axis = str(own.loc[own["share"].idxmax(), "axis"])
    means = by_value(data, axis)
    column = columns(data)[first]
    low, high = means[f"{first}_mean"].min(), means[f"{first}_mean"].max()
    return (
        f"Along {data.short[axis]} the mean {column.label} goes from {column.text(low)} to "
        f"{column.text(high)}."
    )


def table(data: SweepData) -> pd.DataFrame:
    """Return the means and quartiles of all axes."""
    found = [by_value(data, name) for name in data.varied]
    return pd.concat([own for own in found if len(own)] or [pd.DataFrame()], ignore_index=True)
