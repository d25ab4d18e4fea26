"""Stacked bars of points of the front, which three figures share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from reports.figures.style import OTHER, stack, y_names
from reports.sweeping import groups
from reports.sweeping.columns import columns
from reports.sweeping.read import SweepData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMALL = 0.02  # parts below this share of every bar are drawn as one


def point_names(data: SweepData, numbers: list[int]) -> list[str]:
    """Return the label of each point's bar: its number, its group, and the first objective."""
    first = columns(data)[next(iter(data.objectives))]
    found = []
    for number in numbers:
        group = [groups.short(data, data.group[number])] if data.grouped else []
        parts = [f"#{number}", *group, first.text(data.rows.at[number, first.name])]
        found.append(" · ".join(parts))
    return found


def parts_of(data: SweepData, table: str, value: str) -> pd.DataFrame:
    """Return points down and components across; small components are one, the last."""
    own = data.tables[table]
    own = own[own["number"].isin(data.shown)]
    if own.empty:
        return pd.DataFrame()
    sums = own.pivot_table(index="number", columns="component", values=value, aggfunc="sum")
    sums = sums.reindex(data.shown).fillna(0.0)
    shares = sums.div(sums.sum(axis=1), axis=0)
    small = shares.max() < _SMALL
    kept = sums.loc[:, ~small]
    kept = kept[kept.sum().sort_values(ascending=False).index]
    if small.any() and sums.loc[:, small].to_numpy().sum() > 0:
        kept = kept.assign(**{OTHER: sums.loc[:, small].sum(axis=1)})
    return kept


def stacked(axes: Axes, bars: pd.DataFrame, colours: dict[str, str], names: list[str]) -> None:
    """Draw one bar a row of a table whose columns are its parts."""
    for y, (_, own) in enumerate(bars.iterrows()):
        stack(axes, y, [(float(own[part]), colours[part], None) for part in bars.columns])
    y_names(axes, names)
