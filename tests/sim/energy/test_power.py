"""The split of power adds up; areas follow the sizes."""

import pytest

from sim.energy.area import area_table
from sim.energy.power import power_split
from sim.machines import MACHINES, make_machine
from sim.machines.base import HeadMachine
from sim.run import simulate


def areas(name, settings=None):
    table = area_table(make_machine(name, settings).hardware)
    return table.groupby("component")["area_mm2"].sum()


def test_split_adds_up_to_the_power_of_the_run(pruned_trace):
    result = simulate(pruned_trace, make_machine("spatten"))
    split = power_split(result)
    assert split["total"] == pytest.approx(split["logic"] + split["SRAM"] + split["DRAM"])
    assert split["total"] + split["DRAM background"] == pytest.approx(result.row["power_w"])
    assert all(watts > 0 for watts in split.values())


def test_registers_are_clocked_with_every_product(pruned_trace):
    result = simulate(pruned_trace, make_machine("spatten"))
    counts = result.tables["events"].groupby("event")["count"].sum()
    assert counts["pipeline_register_bit"] == 72 * counts["multiply"]


def test_every_bit_and_address_passes_crossbar_and_fifo(pruned_trace):
    result = simulate(pruned_trace, make_machine("spatten"))
    counts = result.tables["events"].groupby("event")["count"].sum()
    bits = 8 * result.row["dram_transferred_bytes"]
    for event in ("dram_read_bit", "dram_io_bit", "data_crossbar_bit", "data_fifo_bit"):
        assert counts[event] == bits, event
    for event in ("address_crossbar_bit", "address_fifo_bit"):
        assert counts[event] == 64 * result.row["dram_requests"], event


def test_area_by_hand():
    table = areas("spatten")
    assert table["multipliers"] == pytest.approx(1024 * 6351 * (12 / 32) ** 2 / 1e6)
    assert table["K SRAM"] == pytest.approx(48 * 0.0347)  # 12 planes x 2 banks x 2 of 256 bit
    assert table["K SRAM"] == table["V SRAM"]
    assert table["address FIFOs"] == pytest.approx(32 * 64 * 64 * 5.98 / 1e6)


def test_area_of_a_selection_engine_by_hand():
    """Two engines: each two comparators a lane, and four shift layers in three eliminators."""
    compare = 2 * 16 * 71 * 12 / 32
    shift = 3 * 16 * 4 * 250 / 5 * 12 / 32
    assert areas("spatten")["top-k"] == pytest.approx(2 * (compare + shift) / 1e6)


def test_area_follows_the_sizes():
    whole, eighth = areas("spatten"), areas("spatten-eighth")
    for component in ("multipliers", "adders", "pipeline registers", "softmax"):
        assert eighth[component] == pytest.approx(whole[component] / 8), component
    assert eighth["top-k"] == whole["top-k"]
    assert areas("spatten", {"value_topk.lanes": "32"}).sum() > whole.sum()


def test_the_row_gives_the_area(pruned_trace):
    result = simulate(pruned_trace, make_machine("spatten"))
    assert result.row["area_mm2"] == pytest.approx(areas("spatten").sum())


@pytest.mark.parametrize("name", [n for n, m in MACHINES.items() if issubclass(m, HeadMachine)])
def test_every_row_has_a_source(name):
    table = area_table(make_machine(name).hardware)
    assert (table["area_mm2"] > 0).all()
    assert table["source"].str.len().min() > 10
    assert set(table["node_nm"]) == {40}
