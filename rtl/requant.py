"""Requantisation decision: is a row's largest probability too small? See `sim.blocks.requant`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.rows import Intake, Store, Table, larger, largest, ring, tally
from rtl.streams import advances, row_layout
from sim.blocks.requant import RequantUnitConfig


class RequantDecision(wiring.Component):
    """Holds a row of probabilities until it is known whether it must be recomputed.

    Takes a request (`threshold`, `lsb_allowed`), then the beats of its row, from 1 element to
    fifo_rows * lanes. Of a longer row fifo_rows beats are taken, then `i.ready` stays low. A cycle
    after the last beat the decision is offered: `recompute` when it is allowed and the largest
    probability is below the threshold. When it has been taken, the beats of a recomputed row are
    dropped, one a cycle, and those of another leave unchanged, the first one two cycles later.

    Without stalls outside `i.ready` never falls, and a row that is kept begins to leave 3 cycles
    after its last beat.
    """

    def __init__(self, config: RequantUnitConfig) -> None:
        self.config = config
        self._row = row_layout(config.lanes, config.width_bits)
        request = data.StructLayout({"threshold": config.width_bits, "lsb_allowed": 1})
        super().__init__(
            {
                "request": In(stream.Signature(request)),
                "i": In(stream.Signature(self._row)),
                "decision": Out(stream.Signature(data.StructLayout({"recompute": 1}))),
                "o": Out(stream.Signature(self._row)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, depth = self.config, self.config.store_depth
        row = self.i.payload
        store = Store(m, "store", self._row, depth)
        intake = Intake(m, self.request, self.i, store.room, config.fifo_rows)
        m.d.comb += [
            store.claims.eq(intake.takes),
            store.writes.eq(intake.takes),
            store.entering.eq(row),
        ]

        # the decision, with a row's last beat
        so_far, newest = Signal(config.width_bits), Signal(config.width_bits)
        of_beat = largest([row.data[lane] for lane in range(config.lanes)], row.count, 0)
        m.d.comb += newest.eq(larger(Mux(intake.first, 0, so_far), of_beat))
        with m.If(intake.takes):
            m.d.sync += so_far.eq(newest)
        request = intake.request
        ends = Signal()
        m.d.comb += ends.eq(intake.takes & intake.last)

        # decisions: rows offer theirs, then use it to leave or to be dropped
        told, leaves = Signal(), Signal()
        offered = Table(m, "offered", 1, depth, read_domain="comb")
        used = Table(m, "used", 1, depth, read_domain="comb")
        tail = ring(m, "tail", depth, ends)
        for table, moves, name in ((offered, told, "offered"), (used, leaves, "used")):
            m.d.comb += [
                table.write.addr.eq(tail),
                table.write.en.eq(ends),
                table.write.data.eq(request.lsb_allowed & (newest < request.threshold)),
                table.read.addr.eq(ring(m, f"{name}_head", depth, moves)),
            ]
        m.d.comb += [
            self.decision.valid.eq(tally(m, "undecided", depth, ends, told) != 0),
            self.decision.payload.recompute.eq(offered.read.data),
            told.eq(self.decision.valid & self.decision.ready),
        ]

        # rows whose decision was taken
        decided = tally(m, "decided", depth, told, leaves)
        dropped = used.read.data
        m.d.comb += [
            store.skips.eq((decided != 0) & dropped),
            store.reads.eq((decided != 0) & ~dropped & advances(self.o)),
            leaves.eq((store.reads | store.skips) & store.ends),
            self.o.payload.eq(store.leaving),
        ]
        with m.If(advances(self.o)):
            m.d.sync += self.o.valid.eq(store.reads)
        return m
