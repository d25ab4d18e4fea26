"""Which parameter moves what: main effects of axes on objectives.

The share of variance an axis explains (eta squared) is the variance between the means of its
groups over the whole variance: 1 if the value of the axis alone decides the objective, 0 if the
means are the same for all of its values. It sees main effects only: two axes that matter only
together have small shares, and shares of a grid add up to at most 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports.sweeping.columns import value_text
from reports.sweeping.read import SweepData

GROUPS = 12  # values of an axis; a numeric axis with more is cut into equally full groups
_FULL = 8  # groups that it is cut into
_LEAST = 4  # points a group must have on average, where there is more than one axis
_DECADE = 10.0  # an objective that spans more is taken by its logarithm


def grouped(values: pd.Series, *, alone: bool = False) -> pd.Series | None:
    """Return the group of each point by an axis; None: too few points a group to judge.

    Args:
        values: of the axis, without points in which it takes no part.
        alone: no other axis varies.
    """
    numbers = pd.to_numeric(values, errors="coerce")
    booleans = values.map(lambda value: isinstance(value, bool)).any()
    count = values.nunique()
    if count > GROUPS and numbers.notna().all() and not booleans:
        parts = min(_FULL, len(values) // _LEAST)
        if parts < 2:
            return None
        return pd.qcut(numbers, parts, duplicates="drop")
    if not alone and len(values) < _LEAST // 2 * count:
        return None
    order = list(dict.fromkeys(sorted(values) if numbers.notna().all() else values))
    return pd.Series(pd.Categorical(values, order, ordered=True), index=values.index)


def scaled(values: pd.Series) -> tuple[pd.Series, str]:
    """Return an objective as sensitivity takes it, and the scale: "log" or "linear"."""
    low, high = values.min(), values.max()
    if low > 0 and high / low > _DECADE:
        return np.log10(values), "log"
    return values, "linear"


def eta_squared(values: pd.Series, groups: pd.Series) -> float:
    """Return the share of variance that lies between the means of groups; NaN: none at all."""
    whole = float(((values - values.mean()) ** 2).sum())
    if whole <= 1e-18 * float((values**2).sum()):
        return float("nan")
    means = values.groupby(groups, observed=True).transform("mean")
    return float(((means - values.mean()) ** 2).sum()) / whole


def main_effects(data: SweepData) -> pd.DataFrame:
    """Return a row for each axis that varies and each objective.

    Columns axis, objective, scale, points, groups, share; share is NaN where it cannot be judged.
    """
    found: list[dict[str, Any]] = []
    for axis in data.varied:
        taking = data.done & data.axes[axis].notna()
        values = data.axes.loc[taking, axis]
        groups = grouped(values, alone=len(data.varied) == 1) if taking.any() else None
        for objective in data.objectives:
            own, scale = scaled(data.rows.loc[taking, objective])
            judged = groups is not None and groups.nunique() > 1
            found.append(
                {
                    "axis": axis,
                    "objective": objective,
                    "scale": scale,
                    "points": len(own),
                    "groups": groups.nunique() if groups is not None else 0,
                    "share": eta_squared(own, groups)
                    if judged and groups is not None
                    else float("nan"),
                }
            )
    return pd.DataFrame(found, columns=["axis", "objective", "scale", "points", "groups", "share"])


def by_value(data: SweepData, axis: str) -> pd.DataFrame:
    """Return what each objective is at each value, or group of values, of an axis.

    Columns axis, value (text), place (number for plotting), points, and for each objective
    NAME_mean, NAME_low and NAME_high, the middle half of the points.
    """
    taking = data.done & data.axes[axis].notna()
    values = data.axes.loc[taking, axis]
    groups = grouped(values, alone=True) if taking.any() else None
    if groups is None:
        return pd.DataFrame()
    found = []
    for at, (group, rows) in enumerate(data.rows[taking].groupby(groups, observed=True, sort=True)):
        line: dict[str, Any] = {"axis": axis, **_place(group, at), "points": len(rows)}
        for name in data.objectives:
            line[f"{name}_mean"] = rows[name].mean()
            line[f"{name}_low"] = rows[name].quantile(0.25)
            line[f"{name}_high"] = rows[name].quantile(0.75)
        found.append(line)
    return pd.DataFrame(found)


def _place(group: Any, at: int) -> dict[str, Any]:
    if isinstance(group, pd.Interval):
        return {"value": f"{group.left:.4g} to {group.right:.4g}", "place": float(group.mid)}
    number = isinstance(group, int | float) and not isinstance(group, bool)
    return {"value": value_text(group), "place": float(group) if number else float(at)}
