"""Constants by machine: sourced, ordered by their work, and following the machine's sizes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import pytest

from sim.energy.area import area_table
from sim.energy.hardware import Fifo, Hardware
from sim.energy.tables import Constant, energy_table
from sim.machines import MACHINES, make_machine
from sim.machines.base import HeadMachine

HARDWARE: Hardware = make_machine("spatten").hardware
TABLES = {
    name: energy_table(make_machine(name).hardware, 1e9)
    for name, kind in MACHINES.items()
    if issubclass(kind, HeadMachine)  # of the others only the memory is priced
}
SPATTEN = TABLES["spatten"]


def of(table: Mapping[str, Constant]) -> dict[str, float]:
    return {event: constant.pj for event, constant in table.items()}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_constant_says_where_it_comes_from(table: Mapping[str, Constant]) -> None:
    for event, constant in table.items():
        assert constant.event == event
        assert constant.pj > 0
        assert len(constant.source) > 20
        assert constant.unit
        assert (constant.node_nm is None) == event.startswith("dram")


def test_a_unit_has_one_node() -> None:
    for component in {constant.component for constant in SPATTEN.values()} - {"static"}:
        nodes = {c.node_nm for c in SPATTEN.values() if c.component == component}
        assert len(nodes) == 1, component


def test_dram_is_oconnors() -> None:
    assert SPATTEN["dram_activate"].pj == 909
    bit = SPATTEN["dram_read_bit"].pj + SPATTEN["dram_io_bit"].pj
    assert bit == pytest.approx(3.48)  # 1.51 + 1.17 + 0.80


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_farther_memories_cost_more_a_bit(table: Mapping[str, Constant]) -> None:
    pj = of(table)
    dram = pj["dram_read_bit"] + pj["dram_io_bit"]
    for access in ("read", "write"):
        sram = pj[f"key_sram_{access}_bit"]
        assert dram > 10 * sram
        assert sram > pj["address_fifo_bit"]
        assert pj[f"value_sram_{access}_bit"] == sram


def test_arithmetic_is_ordered_by_its_work() -> None:
    pj = of(SPATTEN)
    assert pj["topk_compare"] < pj["requant_compare"] < pj["add"] < pj["multiply"]
    assert pj["multiply"] < pj["softmax_add"] < pj["exponential"] < pj["division"]
    assert pj["exponential"] == pytest.approx(5 * (3.7 + 0.9))
    assert pj["division"] == pytest.approx(3.7 * 7.1)
    assert pj["multiply"] / pj["add"] == pytest.approx(3.1 * (12 / 32) ** 2 / 0.075)


def test_narrower_operands_cost_less() -> None:
    pj, narrow = of(SPATTEN), of(energy_table(dataclasses.replace(HARDWARE, width_bits=8), 1e9))
    assert narrow["multiply"] / pj["multiply"] == pytest.approx((8 / 12) ** 2)
    assert narrow["add"] / pj["add"] == pytest.approx(8 / 12)


def test_crossbars_follow_their_inputs() -> None:
    pj = of(SPATTEN)
    assert pj["data_crossbar_bit"] == pytest.approx(0.680 / 32 * 2)  # 16 channels, two levels of 4
    assert pj["address_crossbar_bit"] == pytest.approx(0.680 / 32 * math.log(32, 4))
    one = energy_table(dataclasses.replace(HARDWARE, channels=1, lanes=1), 1e9)
    assert of(one)["data_crossbar_bit"] == pytest.approx(0.680 / 32)


def test_small_fifos_are_flipflops_and_large_ones_rams() -> None:
    assert HARDWARE.address_fifos.bits == 4096
    assert SPATTEN["address_fifo_bit"].pj == pytest.approx(2 * 0.009)
    assert "Aladdin" in SPATTEN["address_fifo_bit"].source
    assert HARDWARE.data_fifos == Fifo(32, 64, 128)
    # between the points of 64 and 256 bit, geometrically: (1.32761, 2.8435), (7.13564, 8.51017)
    expected = (math.sqrt(1.32761 * 7.13564) + math.sqrt(2.8435 * 8.51017)) / 128
    assert SPATTEN["data_fifo_bit"].pj == pytest.approx(expected)


def test_an_eighth_has_shorter_lines() -> None:
    """12 planes x 2 banks of 8 KiB, 64 bit wide; the whole machine has 48 of 4 KiB, 256 wide."""
    pj, eighth = of(SPATTEN), of(TABLES["spatten-eighth"])
    assert pj["key_sram_read_bit"] == pytest.approx(8.15582 / 256)
    assert eighth["key_sram_read_bit"] == pytest.approx(5.2465 / 64)


def test_statics_are_powers_of_the_whole_machine() -> None:
    pj = of(SPATTEN)
    assert pj["dram_background"] * 16 * 1e-3 == pytest.approx(2 * 0.274)  # W, two stacks
    areas = area_table(HARDWARE)
    logic = areas.loc[areas["group"] == "logic", "area_mm2"].sum()
    assert pj["logic_leakage"] * 1e-3 == pytest.approx(logic * 74e-9 / 5.98e-6)
    buffers = 2 * 48 * 3.82881e-3  # W, both buffers
    assert buffers < pj["sram_leakage"] * 1e-3 < 1.2 * buffers
    assert all(c.estimate for c in SPATTEN.values() if c.group == "static")


def test_a_slower_clock_spends_more_static_energy_in_a_cycle() -> None:
    slow = energy_table(HARDWARE, 500e6)
    for event, constant in SPATTEN.items():
        factor = 2 if constant.group == "static" else 1
        assert slow[event].pj == pytest.approx(factor * constant.pj)


def test_more_sram_leaks_more_and_is_larger() -> None:
    large = make_machine("spatten", {"key_buffer.rows": "2048"}).hardware
    assert of(energy_table(large, 1e9))["sram_leakage"] > 1.4 * of(SPATTEN)["sram_leakage"]
    small_area, large_area = (
        float(area_table(h).set_index("component").loc["K SRAM", "area_mm2"])
        for h in (HARDWARE, large)
    )
    assert large_area > 1.5 * small_area
