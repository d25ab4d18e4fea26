from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from sim.energy.account import price, price_layers
from sim.energy.tables import energy_table
from sim.machines import make_machine
from sim.result import TABLE_COLUMNS
from workloads.errors import InputError

TABLE = energy_table(make_machine("spatten").hardware, 1e9)
EVENTS = pd.DataFrame(
    {
        "layer": [0, 1, 1, 2, 2],
        "event": [
            "dram_activate",
            "dram_activate",
            "softmax_add",
            "data_fifo_bit",
            "dram_background",
        ],
        "count": [2, 1, 10, 0, 4],
    }
)


def test_energy_is_count_times_constant() -> None:
    energy = price(EVENTS, TABLE)
    assert list(energy.columns) == list(TABLE_COLUMNS["energy"])
    rows = energy.set_index("event")
    assert rows.loc["dram_activate", "count"] == 3
    assert rows.loc["dram_activate", "energy_pj"] == 3 * 909
    assert rows.loc["softmax_add", "energy_pj"] == pytest.approx(9.0)
    assert rows.loc["data_fifo_bit", "energy_pj"] == 0
    assert rows.loc["softmax_add", "node_nm"] == 45
    assert pd.isna(rows.loc["dram_activate", "node_nm"])
    assert list(rows.index) == ["dram_activate", "softmax_add", "data_fifo_bit", "dram_background"]
    assert rows["group"].tolist() == ["dram", "logic", "sram", "static"]


def test_layers_and_events_add_up_to_the_same() -> None:
    total = price(EVENTS, TABLE)["energy_pj"].sum()
    layers = price_layers(EVENTS, TABLE)
    assert layers["layer"].tolist() == [0, 1, 2]
    assert layers["energy_pj"].tolist() == pytest.approx([1818, 909 + 9, 4 * 34.25])
    assert layers["energy_pj"].sum() == pytest.approx(total)


def test_another_table_prices_the_same_counts() -> None:
    dearer = {e: dataclasses.replace(c, pj=2 * c.pj) for e, c in TABLE.items()}
    before, after = price(EVENTS, TABLE), price(EVENTS, dearer)
    assert (after["energy_pj"] == 2 * before["energy_pj"]).all()
    assert (after["count"] == before["count"]).all()


def test_no_events_cost_nothing() -> None:
    energy = price(EVENTS[:0], TABLE)
    assert len(energy) == 0
    assert list(energy.columns) == list(TABLE_COLUMNS["energy"])
    assert len(price_layers(EVENTS[:0], TABLE)) == 0


def test_large_counts_stay_whole() -> None:
    count = 2**40 + 1
    events = pd.DataFrame({"layer": [0, 0], "event": ["multiply"] * 2, "count": [count, count]})
    assert price(events, TABLE)["count"].tolist() == [2 * count]


@pytest.mark.parametrize("function", [price, price_layers])
def test_unknown_events_are_named(function: object) -> None:
    assert callable(function)
    events = EVENTS.replace({"event": {"data_fifo_bit": "data_fifo_bits"}})
    with pytest.raises(
        InputError, match=r"^event must be one of .*, not 'data_fifo_bits' \(did you"
    ):
        function(events, TABLE)


def test_negative_counts_are_refused() -> None:
    events = EVENTS.assign(count=-1)
    with pytest.raises(InputError, match=r"^count of dram_activate must be at least 0, not -1$"):
        price(events, TABLE)
