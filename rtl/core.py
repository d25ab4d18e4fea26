"""SpAtten's core: heads from memory to outputs. See `sim.blocks.core`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.cascade import CascadeController
from rtl.converter import Converter
from rtl.fetcher import MatrixFetcher
from rtl.head_pipeline import HeadPipeline, fits
from rtl.queue import Queue
from sim.blocks.converter import FULL, LSB, MSB
from sim.blocks.core import CoreConfig

_QUERY, _KEY, _VALUE, _LOW = range(4)  # what is fetched


class SpAttenCore(wiring.Component):
    """Attention of heads whose Q, K and V lie in memory, with cascade pruning of tokens and heads.

    Commands, in order. With `is_head` one head is run: its `number` among the heads of the layer;
    first transactions of Q, K, the low bits of K and V; numbers of `queries`, `keys` and kept
    `values`; `lsb` and `threshold`, softmax `multiplier`. Rows are gathered by the token list: key
    and value j are row tokens[j] of their matrices, query j too with `gather`, row j without. Q and
    V are stored in full width, K as well without `lsb`; with it as a plane of high bits, and one of
    low bits that is fetched at most once a head, when a query needs it. A row begins at a
    transaction of its own. A head that is not alive is taken and not run: nothing is fetched, no
    output comes, and `skipped` is high in that cycle.

    Without `is_head`, `cascade` is a command to the cascade controller (see there), taken when no
    head is under way: it lists tokens and heads, or keeps the best of them by the importance that
    the heads' probabilities and outputs add up to; `kept` gives what stays.

    One head's matrices are fetched while another is computed. The memory is read through
    `memory_channels` ports, each an address and a data stream with one identifier, as AXI4's; a
    channel answers in order and is never made to wait.

    With `late` V is fetched only after the selection, and of V only the rows that are kept. The
    fetch of a head behind such a one waits for that, unless it is late too.

    Queries and keys must be 1 to `tokens`, with `late` one query and fewer values than keys, and
    the number below `heads`. Another head is taken and not run, as is a cascade command that does
    not fit: `refused` is high in the cycle in which it is taken.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self._fetcher = MatrixFetcher(config.fetcher)
        self._pipeline = HeadPipeline(config)
        self._cascade = CascadeController(config.cascade)
        address = config.address_bits
        command = data.StructLayout(
            {
                "is_head": 1,
                "number": range(max(2, config.heads)),
                "query_base": address,
                "key_base": address,
                "low_base": address,
                "value_base": address,
                "gather": 1,
                "head": self._pipeline.head.payload.shape(),
                "cascade": self._cascade.command.payload.shape(),
            }
        )
        super().__init__(
            {
                "command": In(stream.Signature(command)),
                "ar": Out(stream.Signature(address)).array(config.memory_channels),
                "r": In(stream.Signature(config.transaction_bits)).array(config.memory_channels),
                "o": Out(stream.Signature(self._pipeline.o.payload.shape())),
                "kept": Out(stream.Signature(self._cascade.kept.payload.shape())),
                "refused": Out(1),
                "skipped": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.fetcher = fetcher = self._fetcher
        m.submodules.pipeline = pipeline = self._pipeline
        m.submodules.cascade = cascade = self._cascade
        for channel in range(self.config.memory_channels):
            wiring.connect(m, fetcher.ar[channel], wiring.flipped(self.ar[channel]))
            wiring.connect(m, wiring.flipped(self.r[channel]), fetcher.r[channel])
        wiring.connect(m, pipeline.o, wiring.flipped(self.o))
        wiring.connect(m, cascade.kept, wiring.flipped(self.kept))
        loader = _Loader(m, self)
        self._fill(m, loader)
        self._weigh(m, loader)
        return m

    def _fill(self, m: Module, loader: _Loader) -> None:
        """Add the way of fetched lines through the converter into the buffers."""
        m.submodules.converter = converter = Converter(self.config.converter)
        fetcher, pipeline = self._fetcher, self._pipeline
        lanes, fetched, first = self.config.rows, fetcher.o.payload, loader.beats.first
        parts = self.config.topk_lanes // lanes
        masks = [fetched.mask[part * lanes : (part + 1) * lanes] for part in range(parts)]
        part = Signal(range(max(2, parts)))  # line of the beat that goes on
        ends = Signal()  # the beat holds no more rows behind it
        m.d.comb += [
            ends.eq(~Cat(masks[n].any() & (part < n) for n in range(parts)).any()),
            converter.i.valid.eq(fetcher.o.valid),
            fetcher.o.ready.eq(converter.i.ready & ends),
            converter.i.payload.plane.eq(first.plane),
            loader.beats.pop.eq(fetcher.o.valid & fetcher.o.ready),
        ]
        row_bits = len(Value.cast(fetched.data[0]))
        line = fetched.data.as_value().word_select(part, lanes * row_bits)
        for lane in range(lanes):
            m.d.comb += converter.i.payload.data[lane].eq(line.word_select(lane, row_bits))
        going = Signal(first.shape())  # of the line in the converter
        number, mask = Signal(range(max(2, self.config.lines))), Signal(lanes)
        with m.If(converter.i.valid & converter.i.ready):
            m.d.sync += [
                part.eq(Mux(ends, 0, part + 1)),
                going.eq(first),
                going.last.eq(first.last & ends),
                number.eq(first.row * parts + part),
                mask.eq(fetched.mask.word_select(part, lanes)),
            ]
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
                fill.payload.line.eq(number),
                fill.payload.lsb.eq(going.what == _LOW),
                fill.payload.half.eq(going.half),
                fill.payload.last.eq(going.last),
            ]
            with m.If(mine):
                m.d.comb += converter.o.ready.eq(fill.ready)
            filled = fill.valid & fill.ready & fill.payload.last & ~fill.payload.lsb
            m.d.comb += loader.filled[what].eq(filled)

    def _weigh(self, m: Module, loader: _Loader) -> None:
        """Let the cascade controller see probabilities and outputs; it takes them at once, since
        it does nothing else while a head is under way.
        """
        shown, output, cascade = self._pipeline.probabilities, self.o, self._cascade
        m.d.comb += [
            cascade.probabilities.valid.eq(shown.valid),
            cascade.probabilities.payload.eq(shown.row),
            cascade.outputs.valid.eq(output.valid & output.ready),
            cascade.outputs.payload.data.eq(output.payload.data.as_value()),
            cascade.outputs.payload.last.eq(output.payload.last),
            cascade.outputs.payload.head.eq(loader.number),
        ]


class _Loader:
    """Takes commands, decides what is fetched, and gathers rows by the token list.

    One thing behind another: Q and K of a head; its V, when there is room, unless it is late; the
    rows of V that a late one needs; the low bits of one. The next one begins when all indices have
    been sent.

    Attributes:
        beats: where the rows that are under way belong; as many as a row of the token list.
        number: of the head whose outputs come.
        filled: to be driven, by kind: the last line of a matrix goes into its buffer.
    """

    def __init__(self, m: Module, core: SpAttenCore) -> None:
        self.core, config = core, core.config
        self.filled = Signal(3)
        row = range(max(2, config.cascade.list_rows))
        place = data.StructLayout({"what": 2, "plane": 2, "row": row, "half": 1, "last": 1})
        # one may wait at the fetcher's output
        self.beats = Queue(m, place, config.beats + 1, "beats")
        self.wanted = Signal(core.command.payload.shape())  # the head whose matrices are fetched
        self.busy = Signal()
        self.starts, self.follows, self.refills, self.chooses = (
            Signal(name=name) for name in ("starts", "follows", "refills", "chooses")
        )
        self._take_commands(m)
        self._queue_heads(m)
        self._plan(m)
        self._ask(m)
        self._index(m)

    def _take_commands(self, m: Module) -> None:
        """Take a head when it can be fetched, a cascade command when no head is under way."""
        core, config = self.core, self.core.config
        pipeline, cascade = core._pipeline, core._cascade
        command, head = core.command.payload, core.command.payload.head
        # at most `results` heads have outputs to come, and the buffers' halves hold others
        most = config.results + config.buffer.halves
        numbers = Queue(m, command.number.shape(), most, "numbers")
        ends = core.o.valid & core.o.ready & core.o.payload.last
        self.number = numbers.first
        # heads whose V has to wait for their selection; bases of V
        self.waiting = waiting = Queue(m, config.address_bits, 3, "waiting")
        room = [self._room(m, what, name) for what, name in enumerate(("query", "key", "value"))]
        pending = Signal()  # V of the head that was begun last is still to be asked for
        idle, free = Signal(), Signal()
        has_room, fitting, alive = Signal(), Signal(), Signal()  # for Q and K
        offers, offers_head = Signal(), Signal()
        m.d.comb += [
            idle.eq(~self.busy & ~pipeline.lsb.valid & ~pipeline.late.valid),
            free.eq(idle & ~pending & cascade.idle),
            self.follows.eq(idle & pending & room[_VALUE]),
            has_room.eq(room[_QUERY] & room[_KEY] & (head.late | ~waiting.valid)),
            fitting.eq(fits(head, config.tokens) & (command.number < config.heads)),
            alive.eq(cascade.alive.bit_select(command.number, 1)),
            offers.eq(free & core.command.valid),
            offers_head.eq(offers & command.is_head),
            self.starts.eq(offers_head & has_room & fitting & alive),
            core.skipped.eq(offers_head & fitting & ~alive),
            cascade.command.valid.eq(offers & ~command.is_head & ~numbers.valid),
            cascade.command.payload.eq(command.cascade),
            core.refused.eq((offers_head & ~fitting) | cascade.refused),
            core.command.ready.eq(
                self.starts
                | core.skipped
                | (offers_head & ~fitting)
                | (cascade.command.valid & cascade.command.ready)
            ),
            pipeline.lsb.ready.eq(~self.busy),
            self.refills.eq(pipeline.lsb.valid & ~self.busy),
            self.chooses.eq(pipeline.late.valid & ~self.busy),
            numbers.push.eq(self.starts),
            numbers.entering.eq(command.number),
            numbers.pop.eq(ends),
            waiting.push.eq(self.starts & head.late),
            waiting.entering.eq(command.value_base),
        ]
        with m.If(self.starts):
            m.d.sync += [self.wanted.eq(command), pending.eq(~head.late)]
        with m.Elif(self.follows):
            m.d.sync += pending.eq(0)

    def _room(self, m: Module, what: int, name: str) -> Value:
        """Return whether a buffer has a half that is neither full nor meant for something."""
        halves = self.core.config.buffer.halves
        coming = Signal(range(halves + 1), name=f"{name}_coming")  # matrices being fetched
        begins = self.follows | self.chooses if what == _VALUE else self.starts
        m.d.sync += coming.eq(coming + begins - self.filled[what])
        return getattr(self.core._pipeline, f"{name}_stored") + coming != halves

    def _queue_heads(self, m: Module) -> None:
        """Hand heads to the pipeline, and know where the low bits of the one that it has are."""
        core, config = self.core, self.core.config
        command, head = core.command.payload, core.command.payload.head
        pipeline = core._pipeline
        heads = Queue(m, head.shape(), 3, "heads")
        layout = data.StructLayout({"base": config.address_bits, "keys": head.keys.shape()})
        lows = Queue(m, layout, 3, "lows")
        self.low = Signal(layout)
        m.d.comb += [
            pipeline.head.valid.eq(heads.valid),
            pipeline.head.payload.eq(heads.first),
            heads.push.eq(self.starts),
            heads.entering.eq(head),
            heads.pop.eq(heads.valid & pipeline.head.ready),
            lows.push.eq(self.starts),
            lows.entering.base.eq(command.low_base),
            lows.entering.keys.eq(head.keys),
            lows.pop.eq(heads.pop),
        ]
        with m.If(heads.pop):
            m.d.sync += self.low.eq(lows.first)

    def _plan(self, m: Module) -> None:
        """Know what is fetched: from one kind of matrix to another, in requests and in indices."""
        self.chosen = Signal()  # lines of V are fetched that a selection has chosen
        self.asking, self.sending, self.end = Signal(2), Signal(2), Signal(2)
        self.asked_all, self.sent = Signal(), Signal()  # all requests, in this cycle the last index
        self.row = Signal(range(max(2, self.core.config.cascade.list_rows)))
        first, last = Signal(2), Signal(2)  # kinds
        m.d.comb += [
            first.eq(Mux(self.starts, _QUERY, Mux(self.refills, _LOW, _VALUE))),
            last.eq(Mux(self.starts, _KEY, first)),
            self.waiting.pop.eq(self.sent & self.chosen),
        ]
        with m.If(self.starts | self.follows | self.refills | self.chooses):
            m.d.sync += [
                self.busy.eq(1),
                self.chosen.eq(self.chooses),
                self.asking.eq(first),
                self.sending.eq(first),
                self.end.eq(last),
                self.asked_all.eq(0),
                self.row.eq(0),
            ]
        with m.Elif(self.sent):
            m.d.sync += self.busy.eq(0)

    def _ask(self, m: Module) -> None:
        """Send the requests: where a matrix begins and how long its rows are."""
        config, wanted, request = self.core.config, self.wanted, self.core._fetcher.request
        value_base = Mux(self.chosen, self.waiting.first, wanted.value_base)
        bases = Array([wanted.query_base, wanted.key_base, value_base, self.low.base])
        full, high, few = (config.row_transactions(plane) for plane in (FULL, MSB, LSB))
        sizes = Array([Const(full, 8), Mux(wanted.head.lsb, high, full), Const(full, 8), few])
        m.d.comb += [
            request.valid.eq(self.busy & ~self.asked_all),
            request.payload.base.eq(bases[self.asking]),
            request.payload.size.eq(sizes[self.asking]),
        ]
        with m.If(request.valid & request.ready):
            m.d.sync += self.asking.eq(self.asking + 1)
            with m.If(self.asking == self.end):
                m.d.sync += self.asked_all.eq(1)

    def _index(self, m: Module) -> None:
        """Send the row indices, a row of the token list at a time or in order."""
        core, config, wanted = self.core, self.core.config, self.wanted
        pipeline, cascade, beat = core._pipeline, core._cascade, core._fetcher.i
        late, entering = pipeline.late.payload, self.beats.entering
        counts = Array([wanted.head.queries, wanted.head.keys, wanted.head.keys, self.low.keys])
        planes = Array([Const(FULL, 2), Mux(wanted.head.lsb, MSB, FULL), Const(FULL, 2), LSB])
        lanes = config.topk_lanes
        first, left = Signal(wanted.head.keys.shape()), Signal(wanted.head.keys.shape())
        last, moves, half = Signal(), Signal(), Signal()
        plain = (self.sending == _QUERY) & ~wanted.gather
        with m.If(self.refills):
            m.d.sync += half.eq(pipeline.lsb.payload.half)
        m.d.comb += [
            cascade.row.eq(Mux(self.chosen, late.row, self.row)),
            first.eq(self.row * lanes),
            left.eq(counts[self.sending] - first),
            last.eq(Mux(self.chosen, late.last, left <= lanes)),
            beat.valid.eq(self.busy),
            beat.payload.mask.eq(
                Mux(self.chosen, late.mask, Cat(left > lane for lane in range(lanes)))
            ),
            beat.payload.last.eq(last),
            moves.eq(beat.valid & beat.ready),
            pipeline.late.ready.eq(self.chosen & moves),
            self.beats.push.eq(moves),
            entering.what.eq(self.sending),
            entering.plane.eq(planes[self.sending]),
            entering.row.eq(cascade.row),
            entering.half.eq(half),
            entering.last.eq(last),
        ]
        for lane in range(lanes):
            listed = cascade.row_numbers[lane]
            m.d.comb += beat.payload.index[lane].eq(Mux(plain, first + lane, listed))
        with m.If(moves):
            m.d.sync += self.row.eq(Mux(last, 0, self.row + 1))
            with m.If(last):
                m.d.sync += self.sending.eq(self.sending + 1)
                m.d.comb += self.sent.eq(self.sending == self.end)
