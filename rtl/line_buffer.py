"""Key and value buffer with double buffering and bit planes. See `sim.blocks.line_buffer`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.streams import advances
from sim.blocks.line_buffer import LineBufferConfig


class LineBuffer(wiring.Component):
    """Holds matrices as lines of rows: one half fills while another is read.

    `fill` writes the rows of a line that are in `mask`; `last` ends a matrix, which can be read
    from the next cycle on. With `lsb` only the low bits are written, into the given half, at once.
    `read` asks for a line of the oldest matrix, without its LSBs unless `full`; `release` frees its
    half; with `skip` it does only that, no line leaves. A line leaves 1 cycle after it was asked
    for; one line a cycle. A fill waits while all halves are full, a read while none is; rows
    outside a mask keep what was there. `stored` tells how many matrices can be read.
    """

    def __init__(self, config: LineBufferConfig) -> None:
        self.config = config
        line = data.ArrayLayout(
            data.ArrayLayout(signed(config.width_bits), config.channels), config.rows
        )
        number = range(max(2, config.lines))
        fill = data.StructLayout(
            {
                "data": line,
                "mask": config.rows,
                "line": number,
                "lsb": 1,
                "half": range(max(2, config.halves)),
                "last": 1,
            }
        )
        read = data.StructLayout({"line": number, "full": 1, "release": 1, "skip": 1})
        super().__init__(
            {
                "fill": In(stream.Signature(fill)),
                "read": In(stream.Signature(read)),
                "o": Out(stream.Signature(data.StructLayout({"data": line}))),
                "stored": Out(range(config.halves + 1)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        fill, read = self.fill.payload, self.read.payload
        full = Signal(range(config.halves + 1))
        newest, oldest = (
            Signal(range(max(2, config.halves)), name=n) for n in ("newest", "oldest")
        )
        fills, reads, ends, frees = Signal(), Signal(), Signal(), Signal()
        moves = advances(self.o)
        m.d.comb += [
            self.fill.ready.eq(fill.lsb | (full != config.halves)),
            fills.eq(self.fill.valid & self.fill.ready),
            ends.eq(fills & fill.last & ~fill.lsb),
            self.read.ready.eq((full != 0) & moves),
            reads.eq(self.read.valid & self.read.ready),
            frees.eq(reads & read.release),
        ]
        m.d.sync += full.eq(full + ends - frees)
        m.d.comb += self.stored.eq(full)
        for pointer, advance in ((newest, ends), (oldest, frees)):
            with m.If(advance):
                m.d.sync += pointer.eq(Mux(pointer == config.halves - 1, 0, pointer + 1))
        with_lsbs = Signal()
        with m.If(moves):
            m.d.sync += [self.o.valid.eq(reads & ~read.skip), with_lsbs.eq(read.full)]

        write_at = Mux(fill.lsb, fill.half, newest) * config.lines + fill.line
        read_at = oldest * config.lines + read.line
        low = config.lsb_bits
        leaving = []
        for row in range(config.rows):
            elements = [fill.data[row][channel] for channel in range(config.channels)]
            writes = fills & fill.mask[row]
            parts = {
                "lsb": (Cat(*(e.as_unsigned()[:low] for e in elements)), writes),
                "msb": (Cat(*(e.as_unsigned()[low:] for e in elements)), writes & ~fill.lsb),
            }
            planes = {}
            for plane, (bits, enable) in parts.items():
                memory = Memory(shape=len(bits), depth=config.halves * config.lines, init=[])
                m.submodules[f"{plane}_{row}"] = memory
                write, port = memory.write_port(), memory.read_port()
                m.d.comb += [
                    write.addr.eq(write_at),
                    write.data.eq(bits),
                    write.en.eq(enable),
                    port.addr.eq(read_at),
                    port.en.eq(reads),
                ]
                planes[plane] = port.data
            high = config.width_bits - low
            for channel in range(config.channels):
                lsbs = planes["lsb"].word_select(channel, low) & with_lsbs.replicate(low)
                msbs = planes["msb"].word_select(channel, high)
                leaving += [lsbs, msbs]
        m.d.comb += self.o.payload.data.as_value().eq(Cat(*leaving))
        return m
