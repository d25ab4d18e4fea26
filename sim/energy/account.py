"""Counted events times a table: energy, re-priced without simulating again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sim.energy.tables import Constant
from workloads.config import unknown_name
from workloads.errors import InputError

Events = pd.DataFrame | Mapping[str, Any]
"""The `events` table, or its columns."""


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
    return pd.DataFrame(price_columns(events, table)).astype(_COLUMNS)


def price_columns(events: Events, table: Mapping[str, Constant]) -> dict[str, Any]:
    """Return the columns of `price`."""
    totals: dict[str, int] = {}
    for event, count in zip(*_checked(events, table), strict=True):
        totals[event] = totals.get(event, 0) + count
    priced = [constant for event, constant in table.items() if event in totals]
    counts = np.array([totals[constant.event] for constant in priced], np.int64)
    pj = np.array([constant.pj for constant in priced], np.float64)
    nodes = [np.nan if constant.node_nm is None else constant.node_nm for constant in priced]
    return {
        "component": [constant.component for constant in priced],
        "group": [constant.group for constant in priced],
        "event": [constant.event for constant in priced],
        "count": counts,
        "pj_per_event": pj,
        "energy_pj": counts * pj,
        "source": [constant.source for constant in priced],
        "node_nm": np.array(nodes, np.float64),
        "estimate": np.array([constant.estimate for constant in priced], np.bool_),
    }


def price_layers(events: pd.DataFrame, table: Mapping[str, Constant]) -> pd.DataFrame:
    """Return the energy of each layer, columns layer and energy_pj. See `price`."""
    _checked(events, table)
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


def _checked(events: Events, table: Mapping[str, Constant]) -> tuple[list[str], list[int]]:
    """Return events and counts as lists."""
    names, counts = list(events["event"]), np.asarray(events["count"]).tolist()
    for event, count in zip(names, counts, strict=True):
        if event not in table:
            raise InputError(unknown_name("event", str(event), table))
        if count < 0:
            raise InputError(f"count of {event} must be at least 0, not {count}")
    return names, counts
