from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from sim.energy.account import price, price_groups, price_layers
from sim.energy.tables import SPATTEN_40NM
from sim.result import TABLE_COLUMNS
from workloads.errors import InputError

EVENTS = pd.DataFrame(
    {
        "layer": [0, 1, 1, 2, 2],
        "event": ["dram_activate", "dram_activate", "softmax_add", "fifo_bit", "dram_background"],
        "count": [2, 1, 10, 0, 4],
    }
)


def test_energy_is_count_times_constant() -> None:
    energy = price(EVENTS, SPATTEN_40NM)
    assert list(energy.columns) == list(TABLE_COLUMNS["energy"])
    rows = energy.set_index("event")
    assert rows.loc["dram_activate", "count"] == 3
    assert rows.loc["dram_activate", "energy_pj"] == 3 * 909
    assert rows.loc["softmax_add", "energy_pj"] == pytest.approx(9.0)
    assert rows.loc["fifo_bit", "energy_pj"] == 0
    assert rows.loc["softmax_add", "node_nm"] == 45
    assert pd.isna(rows.loc["dram_activate", "node_nm"])
    assert list(rows.index) == ["dram_activate", "softmax_add", "fifo_bit", "dram_background"]


def test_layers_groups_and_events_add_up_to_the_same() -> None:
    total = price(EVENTS, SPATTEN_40NM)["energy_pj"].sum()
    layers = price_layers(EVENTS, SPATTEN_40NM)
    groups = price_groups(EVENTS, SPATTEN_40NM)
    assert layers["layer"].tolist() == [0, 1, 2]
    assert layers["energy_pj"].tolist() == pytest.approx([1818, 909 + 9, 4 * 34.25])
    assert layers["energy_pj"].sum() == pytest.approx(total)
    assert sum(groups.values()) == pytest.approx(total)
    assert groups == pytest.approx({"dram": 2727, "sram": 0, "logic": 9, "static": 137})


def test_another_table_prices_the_same_counts() -> None:
    dearer = {e: dataclasses.replace(c, pj=2 * c.pj) for e, c in SPATTEN_40NM.items()}
    before, after = price(EVENTS, SPATTEN_40NM), price(EVENTS, dearer)
    assert (after["energy_pj"] == 2 * before["energy_pj"]).all()
    assert (after["count"] == before["count"]).all()


def test_no_events_cost_nothing() -> None:
    energy = price(EVENTS[:0], SPATTEN_40NM)
    assert len(energy) == 0
    assert list(energy.columns) == list(TABLE_COLUMNS["energy"])
    assert len(price_layers(EVENTS[:0], SPATTEN_40NM)) == 0


def test_large_counts_stay_whole() -> None:
    count = 2**40 + 1
    events = pd.DataFrame({"layer": [0, 0], "event": ["multiply"] * 2, "count": [count, count]})
    assert price(events, SPATTEN_40NM)["count"].tolist() == [2 * count]


@pytest.mark.parametrize("function", [price, price_layers, price_groups])
def test_unknown_events_are_named(function: object) -> None:
    assert callable(function)
    events = EVENTS.replace({"event": {"fifo_bit": "fifo_bits"}})
    with pytest.raises(InputError, match=r"^event must be one of .*, not 'fifo_bits' \(did you"):
        function(events, SPATTEN_40NM)


def test_negative_counts_are_refused() -> None:
    events = EVENTS.assign(count=-1)
    with pytest.raises(InputError, match=r"^count of dram_activate must be at least 0, not -1$"):
        price(events, SPATTEN_40NM)
