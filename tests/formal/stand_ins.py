"""Short stand-ins for the blocks that compute, for proofs of what connects them.

Each has the streams of its block and gives as many items as it, with what numbers the solver
likes; the softmax also takes the time that the solver likes. What holds for all their numbers
holds for those of the blocks. The others are quicker than their blocks, which no proof with them
covers in time. The cascade controller takes no commands. `without_arithmetic` puts them in place.
"""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import data

from rtl.cascade import CascadeController
from rtl.prob_value import ProbValue
from rtl.query_key import QueryKey
from rtl.queue import Queue
from rtl.rows import Intake
from rtl.softmax import Softmax
from rtl.streams import advances, join
from rtl.topk import TopK

GOES, PROBABILITIES = Signal(name="free_goes"), Signal(32, name="free_probabilities")
KEPT, SUM = Signal(32, name="free_kept"), Signal(name="free_sum")
LISTED = Signal(8, name="free_listed")
CHOICES = [GOES, PROBABILITIES, KEPT, SUM, LISTED]
"""Free inputs of the stand-ins."""


def without_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the head pipeline be made of the stand-ins."""
    for stand_in in (AnyScores, AnyProbabilities, AnyKept, AnySums):
        monkeypatch.setattr(f"rtl.head_pipeline.{stand_in.__base__.__name__}", stand_in)
    monkeypatch.setattr("rtl.core.CascadeController", AnyList)


def may_run(head: Any, tokens: int) -> Value:
    """Return whether a head has 1 to `tokens` queries and keys, a late one a single query and fewer
    values than keys: what `fits` should say.
    """
    queries, keys = head.queries, head.keys
    in_range = (queries >= 1) & (queries <= tokens) & (keys >= 1) & (keys <= tokens)
    return in_range & (~head.late | ((queries == 1) & (head.values < keys)))


class AnyScores(QueryKey):
    """Lets lines meet their queries; what leaves has no scores. 2 cycles."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        _, taking, line = join(m, self.query, self.i, advances(self.o))
        with m.If(advances(self.o)):
            m.d.sync += [
                self.o.valid.eq(taking),
                self.o.payload.count.eq(line.count),
                self.o.payload.last.eq(line.last),
            ]
        return m


class AnyProbabilities(Softmax):
    """Gives any probabilities for a row's beats, from 1 cycle later on."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        i, o = self.i, self.o
        intake = Intake(m, self.request, i, Const(1), self.config.fifo_rows)
        beats = Queue(m, o.payload.shape(), 2 * self.config.fifo_rows, "probabilities")
        waited = Signal()
        m.d.sync += waited.eq(o.valid & ~o.ready)
        m.d.comb += [
            beats.push.eq(intake.takes),
            beats.entering.data.eq(PROBABILITIES),
            beats.entering.count.eq(i.payload.count),
            beats.entering.last.eq(i.payload.last),
            o.valid.eq(beats.valid & (waited | GOES)),
            o.payload.eq(beats.first),
            beats.pop.eq(o.valid & o.ready),
        ]
        return m


class AnyKept(TopK):
    """Takes a request and its rows, then gives any rows, up to one that says it is the last."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        o = self.o
        asked, gives, enters = Signal(), Signal(), Signal()
        bits = len(Value.cast(o.payload))
        assert bits <= len(KEPT), f"KEPT needs {bits} bits"
        kept = data.View(o.payload.shape(), KEPT[:bits])
        m.d.comb += [
            self.request.ready.eq(~asked),
            self.i.ready.eq(asked & ~gives),
            enters.eq(gives & advances(o)),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += asked.eq(1)
        with m.If(self.i.valid & self.i.ready & self.i.payload.last):
            m.d.sync += gives.eq(1)
        with m.If(advances(o)):
            m.d.sync += [o.valid.eq(gives), o.payload.eq(kept)]
        with m.If(enters & kept.last):
            m.d.sync += [asked.eq(0), gives.eq(0)]
        return m


class AnySums(ProbValue):
    """Gives any sums for each query, 2 cycles after its last line."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        _, taking, line = join(m, self.request, self.i, advances(self.o))
        with m.If(advances(self.o)):
            m.d.sync += self.o.valid.eq(taking & line.last)
        sums = Value.cast(self.o.payload.data)
        m.d.comb += sums.eq(SUM.replicate(len(sums)))
        return m


class AnyList(CascadeController):
    """Any tokens are listed, any heads alive; takes no commands."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        numbers = Value.cast(self.row_numbers)
        assert max(len(numbers), len(self.alive)) <= len(LISTED), "LISTED is too short"
        m.d.comb += [self.idle.eq(1), numbers.eq(LISTED), self.alive.eq(LISTED)]
        return m
