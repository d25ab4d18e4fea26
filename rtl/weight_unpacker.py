"""Weight unpacker. See `sim.blocks.weight_unpacker`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances
from sim.blocks.weight_unpacker import WeightUnpackerConfig

COUNT_BITS = 24


def weights_layout(groups: int, group_bits: int, metadata_bits: int) -> data.StructLayout:
    """Return the payload of a data beat: codes and indices of its groups, and their metadata."""
    return data.StructLayout(
        {
            "data": data.ArrayLayout(group_bits, groups),
            "metadata": data.ArrayLayout(metadata_bits, groups),
        }
    )


class WeightUnpacker(wiring.Component):
    """Gives each data beat of a packed matrix beside the metadata of its groups; latency 1 cycle.

    `request` gives the number of a matrix's data `beats`, at least 1; then its beats come on `i` as
    they lie in memory, superblock by superblock. A beat a cycle, also from matrix to matrix: a
    superblock's metadata cost as many cycles as they have beats, in which nothing leaves. Metadata
    are taken although an item waits.
    """

    def __init__(self, config: WeightUnpackerConfig) -> None:
        self.config = config
        request = data.StructLayout({"beats": COUNT_BITS})
        leaving = weights_layout(config.groups, config.group_bits, config.metadata_bits)
        super().__init__(
            {
                "request": In(stream.Signature(request)),
                "i": In(stream.Signature(data.StructLayout({"beat": config.beat_bits}))),
                "o": Out(stream.Signature(leaving)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        have, in_data = Signal(), Signal()
        left = Signal(COUNT_BITS)  # data beats of the matrix that have not come
        place = Signal(range(max(config.data_beats, self._most, 2)))  # of the beat that comes
        takes, ends, takes_data = Signal(), Signal(), Signal()
        metadata = Signal(self._most * config.beat_bits, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(have & (~in_data | advances(self.o))),
            takes.eq(self.i.valid & self.i.ready),
            takes_data.eq(takes & in_data),
            ends.eq(takes_data & (left == 1)),
            self.request.ready.eq(~have | ends),
        ]
        with m.If(takes_data):
            block_ends = ends | (place == config.data_beats - 1)
            m.d.sync += [
                self.o.payload.data.eq(self.i.payload.beat),
                self.o.payload.metadata.eq(metadata),
                metadata.eq(metadata >> (config.groups * config.metadata_bits)),
                left.eq(left - 1),
                place.eq(Mux(block_ends, 0, place + 1)),
                in_data.eq(~block_ends),
            ]
        with m.Elif(takes):
            block_ends = self._last_metadata(place, left)
            width = config.beat_bits
            m.d.sync += [
                metadata.word_select(place, width).eq(self.i.payload.beat),
                place.eq(Mux(block_ends, 0, place + 1)),
                in_data.eq(block_ends),
            ]
        with m.If(advances(self.o)):
            m.d.sync += self.o.valid.eq(takes_data)
        with m.If(self.request.ready):
            m.d.sync += have.eq(self.request.valid)
            with m.If(self.request.valid):
                m.d.sync += left.eq(self.request.payload.beats)
        return m

    @property
    def _most(self) -> int:
        """Metadata beats of a whole superblock."""
        return self.config.metadata_beats(self.config.superblock)

    def _last_metadata(self, place: Value, left: Value) -> Value:
        """Return whether the metadata beat at a place is its superblock's last one."""
        config = self.config
        ends: Value = place == self._most - 1
        for beats in range(1, self._most):  # few groups need no more than so many beats
            enough = beats * config.beat_bits // (config.groups * config.metadata_bits)
            ends = ends | ((place == beats - 1) & (left <= enough))
        return ends
