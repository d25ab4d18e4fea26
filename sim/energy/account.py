"""Counted events times a table: energy, re-priced without simulating again."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sim.energy.tables import Constant
from workloads.config import unknown_name
from workloads.errors import InputError


def price(events: pd.DataFrame, table: Mapping[str, Constant]) -> pd.DataFrame:
    """Return the energy of each event, over all layers.

    Args:
        events: columns layer, event, count; an event may have many rows.
        table: event -> what one costs.

    Returns:
        Columns component, group, event, count, pj_per_event, energy_pj, source, node_nm,
        estimate, one row per event that occurs in `events`, in the table's order.

    Raises:
        InputError: an event that the table does not have.
    """
    _check(events, table)
    totals = events.groupby("event")["count"].sum()
    rows = [
        {
            "component": constant.component,
            "group": constant.group,
            "event": event,
            "count": int(totals[event]),
            "pj_per_event": constant.pj,
            "energy_pj": int(totals[event]) * constant.pj,
            "source": constant.source,
            "node_nm": constant.node_nm,
            "estimate": constant.estimate,
        }
        for event, constant in table.items()
        if event in totals.index
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def price_layers(events: pd.DataFrame, table: Mapping[str, Constant]) -> pd.DataFrame:
    """Return the energy of each layer, columns layer and energy_pj. See `price`."""
    _check(events, table)
    pj = events["event"].map({event: constant.pj for event, constant in table.items()})
    energy = pd.DataFrame({"layer": events["layer"], "energy_pj": events["count"] * pj})
    return energy.groupby("layer")["energy_pj"].sum().reset_index()


_COLUMNS = {
    "component": "str",
    "group": "str",
    "event": "str",
    "count": "int64",
    "pj_per_event": "float64",
    "energy_pj": "float64",
    "source": "str",
    "node_nm": "float64",
    "estimate": "bool",
}


def _check(events: pd.DataFrame, table: Mapping[str, Constant]) -> None:
    for event in events["event"].unique():
        if event not in table:
            raise InputError(unknown_name("event", str(event), table))
    negative = events[events["count"] < 0]
    if len(negative):
        row = negative.iloc[0]
        raise InputError(f"count of {row['event']} must be at least 0, not {row['count']}")
