"""Which axis moves which objective: shares of variance as a map."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import pandas as pd

from reports import words
from reports.figures.style import FAINT, INK, STUDIED, NothingToDraw, lighter, new_figure, styled
from reports.sweeping.columns import label
from reports.sweeping.read import SweepData
from reports.sweeping.sensitivity import main_effects

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Which parameter moves what"
CAPTION = (
    "Share of an objective's variance that lies between the means at the values of an axis (eta "
    "squared), over all points that ran and in which the axis takes part. 100 %: the axis alone "
    "decides; 0 %: its values make no difference on average. Main effects only, without "
    "interactions, as the sweep sampled them. An objective marked log is taken by its logarithm, "
    "because it spans more than a factor of 10; an axis of more than 12 numbers is cut into 8 "
    "equally full groups. A dash: the objective does not vary, or too few points to judge."
)


def draw(data: SweepData) -> Figure:
    """Draw a row an axis and a column an objective."""
    effects = main_effects(data)
    if effects.empty:
        raise NothingToDraw("no axis takes more than one value")
    axes_names = _ranked(effects)
    objectives = list(data.objectives)
    cells = effects.set_index(["axis", "objective"])
    with styled():
        figure = new_figure(1.0 + 0.42 * len(axes_names))
        axes = figure.subplots()
        for y, axis in enumerate(axes_names):
            for x, objective in enumerate(objectives):
                share = float(cells.at[(axis, objective), "share"])
                _cell(axes, x, y, share)
        axes.set_xlim(-0.5, len(objectives) - 0.5)
        axes.set_ylim(len(axes_names) - 0.5, -0.5)
        names = [_objective(effects, name) for name in objectives]
        axes.set_xticks(range(len(objectives)), names)
        axes.set_yticks(range(len(axes_names)), [data.short[name] for name in axes_names])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure


def _cell(axes: object, x: int, y: int, share: float) -> None:
    from matplotlib.patches import Rectangle

    known = isfinite(share)
    colour = lighter(STUDIED, 1 - 0.95 * min(share, 1.0)) if known else "#f2f3f5"
    axes.add_patch(  # type: ignore[attr-defined]
        Rectangle((x - 0.48, y - 0.44), 0.96, 0.88, facecolor=colour, edgecolor="none")
    )
    axes.text(  # type: ignore[attr-defined]
        x,
        y,
        words.percent(round(share, 3)) if known else "–",
        ha="center",
        va="center",
        color="white" if known and share > 0.75 else INK if known else FAINT,
        fontweight="bold" if known and share >= 0.25 else "normal",
    )


def _ranked(effects: pd.DataFrame) -> list[str]:
    largest = effects.groupby("axis", sort=False)["share"].max().fillna(-1.0)
    return [str(name) for name in largest.sort_values(ascending=False, kind="stable").index]


def _objective(effects: pd.DataFrame, name: str) -> str:
    log = (effects.loc[effects["objective"] == name, "scale"] == "log").any()
    text = label(name) + (" (log)" if log else "")
    head, space, rest = text.partition(" of ")
    return f"{head} of\n{rest}" if space and len(text) > 22 else text


def takeaway(data: SweepData) -> str:
    """Name the axis that moves each objective most."""
    effects = main_effects(data).dropna(subset="share")
    parts = []
    for objective in data.objectives:
        own = effects[effects["objective"] == objective]
        if own.empty:
            parts.append(f"{label(objective)} does not vary")
            continue
        first = own.loc[own["share"].idxmax()]
        name = data.short[first["axis"]]
        share = words.percent(round(float(first["share"]), 3))
        parts.append(f"{label(objective)} is moved most by {name} ({share} of its variance)")
    return words.sentence(parts)


def table(data: SweepData) -> pd.DataFrame:
    """Return the share of each axis and objective."""
    return main_effects(data)
