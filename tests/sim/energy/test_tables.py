from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from sim.energy.tables import SPATTEN_40NM, SPATTEN_EIGHTH_40NM, Constant, at_clock

TABLES = {"spatten": SPATTEN_40NM, "eighth": SPATTEN_EIGHTH_40NM}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_constant_says_where_it_comes_from(table: dict[str, Constant]) -> None:
    for event, constant in table.items():
        assert constant.event == event
        assert constant.pj > 0
        assert len(constant.source) > 20
        assert constant.unit
        assert (constant.node_nm is None) == (constant.component == "DRAM" or "dram" in event)


def test_a_unit_has_one_node() -> None:
    for component in {constant.component for constant in SPATTEN_40NM.values()} - {"static"}:
        nodes = {c.node_nm for c in SPATTEN_40NM.values() if c.component == component}
        assert len(nodes) == 1, component


def test_dram_is_oconnors() -> None:
    table = SPATTEN_40NM
    assert table["dram_activate"].pj == 909
    bit = table["dram_read_bit"].pj + table["dram_io_bit"].pj
    assert bit == pytest.approx(3.48)  # 1.51 + 1.17 + 0.80


def test_farther_memories_cost_more_a_bit() -> None:
    for table in TABLES.values():
        dram = table["dram_read_bit"].pj + table["dram_io_bit"].pj
        for access in ("read", "write"):
            sram = table[f"key_sram_{access}_bit"].pj
            assert dram > 10 * sram
            assert sram > table["fifo_bit"].pj
            assert table[f"value_sram_{access}_bit"].pj == sram


def test_arithmetic_is_ordered_by_its_work() -> None:
    pj = {event: constant.pj for event, constant in SPATTEN_40NM.items()}
    assert pj["topk_compare"] < pj["requant_compare"] < pj["add"] < pj["multiply"]
    assert pj["multiply"] < pj["softmax_add"] < pj["exponential"] < pj["division"]
    assert pj["exponential"] == pytest.approx(5 * (3.7 + 0.9))
    assert pj["multiply"] / pj["add"] == pytest.approx(3.1 * (12 / 32) ** 2 / 0.075)


@pytest.mark.parametrize(("name", "width_bits"), [("spatten", 512), ("eighth", 64)])
def test_sram_is_cactis(
    name: str, width_bits: int, shared_files: Callable[[str], list[Path]]
) -> None:
    (path,) = shared_files("oracles/cacti/sram.csv")
    wanted = ("8192", str(width_bits), "40", "itrs-lstp", "1rw")
    with path.open() as lines:
        rows = [row for row in csv.reader(lines) if tuple(row[:5]) == wanted]
    ((_, cycle_ns, read_nj, write_nj, leakage_mw, _),) = [map(float, row[5:]) for row in rows]
    table = TABLES[name]
    assert cycle_ns < 1  # it runs at 1 GHz
    assert 12 * 2 * 8192 == 2 * 1024 * 64 * 12 / 8  # planes x banks hold the paper's 196,608 B
    assert table["key_sram_read_bit"].pj == pytest.approx(read_nj * 1e3 / width_bits)
    assert table["key_sram_write_bit"].pj == pytest.approx(write_nj * 1e3 / width_bits)
    assert table["sram_leakage"].pj == pytest.approx(leakage_mw / 8)  # mW x 1 ns = pJ


def test_statics_are_powers_of_the_whole_machine() -> None:
    pj = {event: constant.pj for event, constant in SPATTEN_40NM.items()}
    assert pj["dram_background"] * 16 * 1e-3 == pytest.approx(2 * 0.274)  # W, two stacks
    assert pj["logic_leakage"] * 1024 * 1e-3 == pytest.approx(0.0431, rel=0.01)  # W
    assert all(c.estimate for c in SPATTEN_40NM.values() if c.group == "static")


def test_a_slower_clock_spends_more_static_energy_in_a_cycle() -> None:
    slow = at_clock(SPATTEN_40NM, 500e6)
    for event, constant in SPATTEN_40NM.items():
        factor = 2 if constant.group == "static" else 1
        assert slow[event].pj == pytest.approx(factor * constant.pj)
