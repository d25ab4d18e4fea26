"""The split of power adds up; areas follow the sizes."""

import pytest

from sim.energy.area import PIPELINE_REGISTER_BITS, area_table
from sim.energy.power import power_split
from sim.machines import make_machine
from sim.run import simulate


def test_split_adds_up_to_the_power_of_the_run(pruned_trace):
    result = simulate(pruned_trace, make_machine("spatten"))
    split = power_split(result)
    assert split["total"] == pytest.approx(split["logic"] + split["SRAM"] + split["DRAM"])
    assert split["total"] + split["DRAM background"] == pytest.approx(result.row["power_w"])
    assert all(watts > 0 for watts in split.values())


def test_registers_are_clocked_with_every_product(pruned_trace):
    result = simulate(pruned_trace, make_machine("spatten"))
    counts = result.tables["events"].groupby("event")["count"].sum()
    assert counts["pipeline_register_bit"] == PIPELINE_REGISTER_BITS * counts["multiply"]


def test_area_by_hand():
    table = area_table(make_machine("spatten")).set_index("component")["area_mm2"]
    assert table["multipliers"] == pytest.approx(1024 * 6351 * (12 / 32) ** 2 / 1e6)
    assert table["K SRAM"] == pytest.approx(24 * 0.038886)
    assert table["K SRAM"] == table["V SRAM"]


def test_area_follows_the_sizes():
    whole = area_table(make_machine("spatten")).set_index("component")["area_mm2"]
    eighth = area_table(make_machine("spatten-eighth")).set_index("component")["area_mm2"]
    for component in ("multipliers", "adders", "pipeline registers", "softmax"):
        assert eighth[component] == pytest.approx(whole[component] / 8), component
    assert eighth["top-k"] == whole["top-k"]
    wide = make_machine("spatten", {"value_topk.lanes": "32"})
    assert area_table(wide)["area_mm2"].sum() > whole.sum()


def test_every_row_has_a_source():
    table = area_table(make_machine("spatten"))
    assert table["source"].str.len().min() > 10
    assert set(table["node_nm"]) == {40}
