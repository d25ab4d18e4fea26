"""SpAtten's core: heads from memory to outputs. See `sim.blocks.core`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.converter import Converter
from rtl.fetcher import MatrixFetcher
from rtl.head_pipeline import HeadPipeline, fits
from rtl.queue import Queue
from sim.blocks.converter import FULL, LSB, MSB
from sim.blocks.core import CoreConfig

_QUERY, _KEY, _VALUE, _LOW = range(4)  # what is fetched


class SpAttenCore(wiring.Component):
    """Attention of heads whose Q, K and V lie in memory.

    Commands, in order. `tokens`: a line of the token list, the row numbers of `rows` tokens that
    are alive; it is taken when no head is under way. `head`: first transactions of Q, K, the low
    bits of K and V; numbers of `queries`, `keys` and kept `values`; `lsb` and `threshold`, softmax
    `multiplier`. Rows are gathered by the token list: key and value j are row tokens[j] of their
    matrices, query j too with `gather`, row j without. Q and V are stored in full width, K as well
    without `lsb`; with it as a plane of high bits, and one of low bits that is fetched at most once
    a head, when a query needs it. A row begins at a transaction of its own.

    One head's matrices are fetched while another is computed. The memory is read through
    `memory_channels` ports, each an address and a data stream with one identifier, as AXI4's; a
    channel answers in order and is never made to wait.

    With `late` V is fetched only after the selection, and of V only the rows that are kept. The
    fetch of a head behind such a one waits for that, unless it is late too.

    Queries and keys must be 1 to `tokens`, with `late` one query and fewer values than keys.
    Another head is taken and not run: nothing is fetched, no output comes, and `refused` is high
    in the cycle in which it is taken.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self._fetcher = MatrixFetcher(config.fetcher)
        self._pipeline = HeadPipeline(config)
        head = self._pipeline.head.payload.shape()
        address = config.address_bits
        self._number = range(max(2, config.tokens))
        command = data.StructLayout(
            {
                "is_head": 1,
                "query_base": address,
                "key_base": address,
                "low_base": address,
                "value_base": address,
                "gather": 1,
                "head": head,
                "line": range(max(2, config.lines)),
                "tokens": data.ArrayLayout(self._number, config.rows),
            }
        )
        super().__init__(
            {
                "command": In(stream.Signature(command)),
                "ar": Out(stream.Signature(address)).array(config.memory_channels),
                "r": In(stream.Signature(config.transaction_bits)).array(config.memory_channels),
                "o": Out(stream.Signature(self._pipeline.o.payload.shape())),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        m.submodules.fetcher = fetcher = self._fetcher
        m.submodules.pipeline = pipeline = self._pipeline
        for channel in range(config.memory_channels):
            wiring.connect(m, fetcher.ar[channel], wiring.flipped(self.ar[channel]))
            wiring.connect(m, wiring.flipped(self.r[channel]), fetcher.r[channel])
        wiring.connect(m, pipeline.o, wiring.flipped(self.o))
        loader = _Loader(m, self, fetcher, pipeline)
        self._fill(m, fetcher, pipeline, loader)
        return m

    def _fill(
        self, m: Module, fetcher: MatrixFetcher, pipeline: HeadPipeline, loader: _Loader
    ) -> None:
        """Add the way of fetched lines through the converter into the buffers."""
        m.submodules.converter = converter = Converter(self.config.converter)
        lines, rows = loader.lines, fetcher.o.payload
        going = Signal(lines.first.shape())  # of the line in the converter
        mask = Signal(self.config.rows)
        m.d.comb += [
            converter.i.valid.eq(fetcher.o.valid),
            fetcher.o.ready.eq(converter.i.ready),
            converter.i.payload.plane.eq(lines.first.plane),
            lines.pop.eq(fetcher.o.valid & fetcher.o.ready),
        ]
        for lane in range(self.config.rows):
            m.d.comb += converter.i.payload.data[lane].eq(rows.data[lane])
        with m.If(lines.pop):
            m.d.sync += [going.eq(lines.first), mask.eq(rows.mask)]
        for what, fill in (
            (_QUERY, pipeline.query_fill),
            (_KEY, pipeline.key_fill),
            (_VALUE, pipeline.value_fill),
        ):
            mine = going.what == what
            if what == _KEY:
                mine = mine | (going.what == _LOW)
            m.d.comb += [
                fill.valid.eq(converter.o.valid & mine),
                fill.payload.data.eq(converter.o.payload.data.as_value()),
                fill.payload.mask.eq(mask),
                fill.payload.line.eq(going.line),
                fill.payload.lsb.eq(going.what == _LOW),
                fill.payload.half.eq(going.half),
                fill.payload.last.eq(going.last),
            ]
            with m.If(mine):
                m.d.comb += converter.o.ready.eq(fill.ready)
        m.d.comb += loader.filled.eq(converter.o.valid & converter.o.ready & going.last)


class _Loader:
    """Decides what is fetched, and gathers rows by the token list.

    One thing at a time: the matrices of a head, of a late one without V; the low bits of one; the
    lines of V that a late one needs.

    Attributes:
        lines: where each line that is under way belongs.
        filled: to be driven: the last line of a matrix goes into its buffer.
    """

    def __init__(
        self, m: Module, core: SpAttenCore, fetcher: MatrixFetcher, pipeline: HeadPipeline
    ) -> None:
        self.core, config = core, core.config
        numbers = range(max(2, config.lines))
        self.filled = Signal()
        place = data.StructLayout({"what": 2, "plane": 2, "line": numbers, "half": 1, "last": 1})
        self.lines = Queue(m, place, config.beats + 1, "lines")
        command, head = core.command.payload, core.command.payload.head
        wanted = Signal(command.shape())  # the head whose matrices are fetched
        heads = Queue(m, head.shape(), 3, "heads")
        layout = data.StructLayout({"base": config.address_bits, "keys": head.keys.shape()})
        lows = Queue(m, layout, 3, "lows")
        low = Signal(layout)  # of the head that the pipeline has taken
        m.d.comb += [
            pipeline.head.valid.eq(heads.valid),
            pipeline.head.payload.eq(heads.first),
            heads.pop.eq(heads.valid & pipeline.head.ready),
            lows.pop.eq(heads.pop),
        ]
        with m.If(heads.pop):
            m.d.sync += low.eq(lows.first)
        under_way = Signal(range(8))  # heads
        ends = core.o.valid & core.o.ready & core.o.payload.last
        starts, lists, refills, chooses = Signal(), Signal(), Signal(), Signal()
        m.d.sync += under_way.eq(under_way + starts - ends)

        # heads whose V has to wait for their selection; bases of V
        waiting = Queue(m, config.address_bits, 3, "waiting")
        chosen = Signal()  # lines of V are fetched that a selection has chosen
        late = pipeline.late.payload

        # what is fetched, from the first kind to the last
        busy, fetching = Signal(), Signal(range(4))  # matrices that are not yet in their buffers
        asking, sending, end = Signal(2), Signal(2), Signal(2)  # of requests, indices; the last
        asked_all, sent_all = Signal(), Signal()
        line, half = Signal(numbers), Signal()
        room = {
            name: getattr(pipeline, f"{name}_stored") != config.buffer.halves
            for name in ("query", "key", "value")
        }
        free = ~busy & ~pipeline.lsb.valid & ~pipeline.late.valid
        has_room = Signal()  # for what a head begins with
        fitting = fits(head, config.tokens)
        m.d.comb += [
            has_room.eq(
                room["query"] & room["key"] & (head.late | (room["value"] & ~waiting.valid))
            ),
            starts.eq(free & core.command.valid & command.is_head & has_room & fitting),
            lists.eq(free & core.command.valid & ~command.is_head & (under_way == 0)),
            core.refused.eq(free & core.command.valid & command.is_head & ~fitting),
            core.command.ready.eq(starts | lists | core.refused),
            pipeline.lsb.ready.eq(~busy),
            refills.eq(pipeline.lsb.valid & ~busy),
            chooses.eq(pipeline.late.valid & ~busy),
            heads.push.eq(starts),
            heads.entering.eq(head),
            lows.push.eq(starts),
            lows.entering.base.eq(command.low_base),
            lows.entering.keys.eq(head.keys),
            waiting.push.eq(starts & head.late),
            waiting.entering.eq(command.value_base),
            waiting.pop.eq(self.filled & chosen),
        ]
        first_kind, last_kind = Signal(2), Signal(2)
        m.d.comb += [
            first_kind.eq(Mux(starts, _QUERY, Mux(refills, _LOW, _VALUE))),
            last_kind.eq(Mux(starts, Mux(head.late, _KEY, _VALUE), first_kind)),
        ]
        with m.If(starts | refills | chooses):
            m.d.sync += [
                busy.eq(1),
                chosen.eq(chooses),
                fetching.eq(last_kind - first_kind + 1),
                asking.eq(first_kind),
                sending.eq(first_kind),
                end.eq(last_kind),
                asked_all.eq(0),
                sent_all.eq(0),
                line.eq(0),
            ]
        with m.If(starts):
            m.d.sync += wanted.eq(command)
        with m.If(refills):
            m.d.sync += half.eq(pipeline.lsb.payload.half)
        with m.If(self.filled):
            m.d.sync += fetching.eq(fetching - 1)
            with m.If(fetching == 1):
                m.d.sync += busy.eq(0)

        # requests
        value_base = Mux(chosen, waiting.first, wanted.value_base)
        bases = Array([wanted.query_base, wanted.key_base, value_base, low.base])
        full, high, few = (config.row_transactions(plane) for plane in (FULL, MSB, LSB))
        sizes = Array([Const(full, 8), Mux(wanted.head.lsb, high, full), Const(full, 8), few])
        m.d.comb += [
            fetcher.request.valid.eq(busy & ~asked_all),
            fetcher.request.payload.base.eq(bases[asking]),
            fetcher.request.payload.size.eq(sizes[asking]),
        ]
        with m.If(fetcher.request.valid & fetcher.request.ready):
            m.d.sync += asking.eq(asking + 1)
            with m.If(asking == end):
                m.d.sync += asked_all.eq(1)

        # indices
        current = Mux(chosen, late.line, line)
        listed = self._token_list(m, lists, current)
        counts = Array([wanted.head.queries, wanted.head.keys, wanted.head.keys, low.keys])
        planes = Array([Const(FULL, 2), Mux(wanted.head.lsb, MSB, FULL), Const(FULL, 2), LSB])
        shift = (config.rows - 1).bit_length()
        first, left = Signal(head.keys.shape()), Signal(head.keys.shape())
        last, moves = Signal(), Signal()
        plain = (sending == _QUERY) & ~wanted.gather
        m.d.comb += [
            first.eq(line << shift),
            left.eq(counts[sending] - first),
            last.eq(Mux(chosen, late.last, left <= config.rows)),
            fetcher.i.valid.eq(busy & ~sent_all),
            pipeline.late.ready.eq(chosen & moves),
            fetcher.i.payload.mask.eq(
                Mux(chosen, late.mask, Cat(left > lane for lane in range(config.rows)))
            ),
            fetcher.i.payload.last.eq(last),
            moves.eq(fetcher.i.valid & fetcher.i.ready),
            self.lines.push.eq(moves),
            self.lines.entering.what.eq(sending),
            self.lines.entering.plane.eq(planes[sending]),
            self.lines.entering.line.eq(current),
            self.lines.entering.half.eq(half),
            self.lines.entering.last.eq(last),
        ]
        for lane in range(config.rows):
            m.d.comb += fetcher.i.payload.index[lane].eq(Mux(plain, first + lane, listed[lane]))
        with m.If(moves):
            m.d.sync += line.eq(Mux(last, 0, line + 1))
            with m.If(last):
                m.d.sync += sending.eq(sending + 1)
                with m.If(sending == end):
                    m.d.sync += sent_all.eq(1)

    def _token_list(self, m: Module, writes: Value, line: Value) -> list[Value]:
        """Add the list of tokens; return the row numbers of a line."""
        config, command = self.core.config, self.core.command.payload
        width = len(Value.cast(command.tokens[0]))
        memory = Memory(shape=config.rows * width, depth=config.lines, init=[])
        m.submodules.tokens = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(command.line),
            write.data.eq(command.tokens.as_value()),
            write.en.eq(writes),
            read.addr.eq(line),
        ]
        return [read.data.word_select(lane, width) for lane in range(config.rows)]
