"""Cascade controller: keeps the most important tokens and heads. See `sim.blocks.cascade`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.importance import HeadImportance, ImportanceAccumulator, saturated
from rtl.packer import Packer
from rtl.queue import Queue
from rtl.streams import require_power_of_two, row_layout
from rtl.topk import TopK
from sim.blocks.accumulate import DUMP, LOAD
from sim.blocks.cascade import HEADS, SELECT_HEADS, SELECT_TOKENS, TOKENS, CascadeConfig


class CascadeController(wiring.Component):
    """Holds the token list and which heads are alive, adds up importance, and selects.

    `probabilities`: those of one query after another over the list, `rows` at a time, the last row
    marked. `outputs`: a query's exact sums, the number of its head, and whether it is the head's
    last. Both are taken at once while nothing else is done.

    `command`, taken between queries and between heads whose sums are there, ahead of rows that are
    offered in the same cycle. TOKENS: a row of the list, `numbers` of tokens and their
    `importance` so far. HEADS: which of a row of heads are `alive`, and their `importance`.
    SELECT_TOKENS: of the first `count` tokens of the list `keep` stay, in order, and move up.
    SELECT_HEADS: of the heads that are alive `keep` stay. After reset all heads are alive, and all
    sums zero. A row beyond the list or the heads, or a count above `tokens`, is taken and does
    nothing; `refused` is high in that cycle.

    `kept` gives what stays: numbers of tokens or heads, their importance; in rows of the
    selection's input, those that keep nothing left out, but for the last.

    `line` asks for `rows` numbers of the list, `line_numbers` gives them in the same cycle.
    `alive` and the list are final while `idle` is high.
    """

    def __init__(self, config: CascadeConfig) -> None:
        self.config = config
        lanes, rows = config.lanes, config.rows
        self._shift = require_power_of_two("CascadeController lanes", lanes)
        number = range(max(2, config.tokens, config.heads))
        sums = data.ArrayLayout(config.importance_bits, lanes)
        self._numbers = data.ArrayLayout(number, lanes)
        probabilities = data.StructLayout(
            {"data": data.ArrayLayout(config.prob_bits, rows), "count": range(rows + 1), "last": 1}
        )
        outputs = data.StructLayout(
            {
                "data": data.ArrayLayout(signed(config.value_bits), config.channels),
                "head": range(max(2, config.heads)),
                "last": 1,
            }
        )
        command = data.StructLayout(
            {
                "kind": range(4),
                "row": range(max(2, config.list_rows, config.head_rows)),
                "numbers": self._numbers,
                "importance": sums,
                "alive": lanes,
                "count": range(config.tokens + 1),
                "keep": range(max(config.tokens, config.heads) + 1),
            }
        )
        kept = data.StructLayout(
            {"number": self._numbers, "importance": sums, "count": range(lanes + 1), "last": 1}
        )
        super().__init__(
            {
                "probabilities": In(stream.Signature(probabilities)),
                "outputs": In(stream.Signature(outputs)),
                "command": In(stream.Signature(command)),
                "kept": Out(stream.Signature(kept)),
                "line": In(range(max(2, config.tokens // rows))),
                "line_numbers": Out(data.ArrayLayout(number, rows)),
                "alive": Out(config.heads),
                "idle": Out(1),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        m.submodules.sums = sums = ImportanceAccumulator(config.token_importance)
        m.submodules.topk = topk = TopK(config.topk)
        heads = _Heads(m, self)
        command = self.command.payload
        between = Signal()  # no query has begun whose last row has not come
        takes, fits, of_tokens = Signal(), Signal(), Signal()
        row_limits = {TOKENS: config.list_rows, HEADS: config.head_rows}
        beyond = Cat((command.kind == kind) & (command.row >= n) for kind, n in row_limits.items())
        m.d.comb += [
            self.command.ready.eq(self.idle & heads.settled & between),
            takes.eq(self.command.valid & self.command.ready),
            fits.eq(
                ~beyond.any() & ((command.kind != SELECT_TOKENS) | (command.count <= config.tokens))
            ),
            self.refused.eq(takes & ~fits),
        ]
        self._add_probabilities(m, sums, takes, between)
        m.d.comb += [
            heads.takes_rows.eq(self.idle & ~takes),
            heads.listed.eq(takes & fits & (command.kind == HEADS)),
        ]

        # a selection: sums to the engine, what it keeps to the list
        selects = takes & fits & (command.kind >= SELECT_TOKENS)
        feed = Signal(range(config.head_rows + 1))  # row of heads that is fed
        feeding, flushes = Signal(), Signal()
        most = Mux(command.keep > heads.number_alive, heads.number_alive, command.keep)
        m.d.comb += [
            topk.request.valid.eq(selects),
            topk.request.payload.k.eq(Mux(command.kind == SELECT_HEADS, most, command.keep)),
            heads.row.eq(feed),
        ]
        with m.If(feeding):
            m.d.comb += [topk.i.valid.eq(1), topk.i.payload.eq(heads.sums)]
        with m.Else():
            m.d.comb += [
                topk.i.valid.eq(sums.o.valid),
                *(
                    topk.i.payload.data[lane].eq(sums.o.payload.data[lane])
                    for lane in range(config.lanes)
                ),
                topk.i.payload.count.eq(sums.o.payload.count),
                topk.i.payload.last.eq(sums.o.payload.last),
                sums.o.ready.eq(topk.i.ready),
            ]
        self._keep(m, topk, sums, heads, of_tokens, takes & fits, flushes)
        kept_last = self.kept.valid & self.kept.ready & self.kept.payload.last
        with m.FSM(init="CLEAR"):
            with m.State("CLEAR"):  # of the sums, after reset
                with m.If(sums.command.ready):
                    m.next = "IDLE"
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += feed.eq(0)
                with m.If(selects):
                    m.d.sync += of_tokens.eq(command.kind == SELECT_TOKENS)
                    with m.If(command.kind == SELECT_TOKENS):
                        m.next = "COLLECT"
                    with m.Else():
                        m.next = "FEED"
            with m.State("FEED"):
                m.d.comb += feeding.eq(1)
                m.d.sync += feed.eq(feed + 1)
                with m.If(feed == config.head_rows - 1):
                    m.d.comb += heads.drops_all.eq(1)
                    m.next = "COLLECT"
            with m.State("COLLECT"):
                with m.If(kept_last):
                    m.next = "APPEND"
            with m.State("APPEND"):
                m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.comb += flushes.eq(1)
                m.next = "IDLE"
        return m

    def _add_probabilities(
        self, m: Module, sums: ImportanceAccumulator, takes: Value, between: Value
    ) -> None:
        """Add the way of probabilities to the sums, which knows the position of each row."""
        config, row = self.config, self.probabilities.payload
        position = Signal(range(config.tokens + config.rows))  # of the row's first token
        m.d.comb += [
            between.eq(position == 0),
            sums.i.valid.eq(self.probabilities.valid & self.idle & ~takes),
            self.probabilities.ready.eq(sums.i.ready & self.idle & ~takes),
            sums.i.payload.count.eq(row.count),
            sums.i.payload.base.eq(position),
            sums.i.payload.last.eq(row.last),
        ]
        for lane in range(config.rows):
            m.d.comb += sums.i.payload.data[lane].eq(row.data[lane])
        with m.If(self.probabilities.valid & self.probabilities.ready):
            m.d.sync += position.eq(Mux(row.last, 0, position + config.rows))

    def _keep(
        self, m: Module, topk: TopK, sums: ImportanceAccumulator, heads: _Heads,
        of_tokens: Value, takes: Value, flushes: Value,
    ) -> None:  # fmt: skip
        """Add the token list, and the way of what is kept to it and to `kept`."""
        config, command, kept = self.config, self.command.payload, topk.o.payload
        lanes, bits = config.lanes, config.importance_bits
        number_bits = len(Value.cast(command.numbers[0]))
        memory = Memory(shape=lanes * number_bits, depth=config.list_rows, init=[])
        m.submodules.tokens = memory
        write = memory.write_port()
        old, asked = (memory.read_port(domain="comb") for _ in range(2))
        parts = lanes // config.rows
        m.d.comb += [
            old.addr.eq(kept.index[0] >> self._shift),
            asked.addr.eq(self.line >> (parts - 1).bit_length()),
            self.line_numbers.as_value().eq(
                asked.data.word_select(
                    self.line[: (parts - 1).bit_length()] if parts > 1 else 0,
                    config.rows * number_bits,
                )
            ),
        ]

        # what leaves the engine, with the numbers of tokens
        moves = self.kept.valid & self.kept.ready
        numbers, importance = self.kept.payload.number, self.kept.payload.importance
        pairs = []
        for lane in range(lanes):
            used = kept.count > lane
            place = kept.index[lane][: self._shift] if self._shift else 0
            listed = old.data.word_select(place, number_bits)
            m.d.comb += [
                numbers[lane].eq(Mux(used, Mux(of_tokens, listed, kept.index[lane]), 0)),
                importance[lane].eq(kept.data[lane][:bits]),
            ]
            pairs.append(Cat(numbers[lane], importance[lane]))
        m.d.comb += [
            self.kept.valid.eq(topk.o.valid),
            topk.o.ready.eq(self.kept.ready),
            self.kept.payload.count.eq(kept.count),
            self.kept.payload.last.eq(kept.last),
            heads.keeps.eq(moves & ~of_tokens),
            heads.kept.eq(Cat(Mux(kept.count > lane, 1, 0) for lane in range(lanes))),
        ]
        for lane in range(lanes):
            m.d.comb += heads.kept_numbers[lane].eq(numbers[lane])

        # packed into rows of the list and of the sums; or a row that is commanded
        packer = Packer(m, "packer", lanes, number_bits + bits, config.list_rows)
        m.d.sync += packer.appends.eq(moves & of_tokens)
        with m.If(moves):
            m.d.sync += [packer.entering.eq(Cat(*pairs)), packer.number.eq(kept.count)]
        row = Signal(lanes * (number_bits + bits))
        m.d.comb += row.eq(Mux(packer.writes, packer.full, packer.pending))
        leftover = flushes & (packer.count != 0)
        m.d.comb += packer.clears.eq(flushes)
        with m.If(packer.writes | leftover):
            m.d.comb += [
                write.en.eq(1),
                write.addr.eq(packer.row),
                sums.command.valid.eq(1),
                sums.command.payload.kind.eq(LOAD),
                sums.command.payload.row.eq(packer.row),
            ]
            for lane in range(lanes):
                pair = row.word_select(lane, number_bits + bits)
                m.d.comb += [
                    write.data.word_select(lane, number_bits).eq(pair[:number_bits]),
                    sums.command.payload.sums[lane].eq(pair[number_bits:]),
                ]
        with m.Else():
            listed = takes & (command.kind == TOKENS)
            dumps = takes & (command.kind == SELECT_TOKENS)
            m.d.comb += [
                write.en.eq(listed),
                write.addr.eq(command.row),
                write.data.eq(command.numbers.as_value()),
                sums.command.valid.eq(listed | dumps),
                sums.command.payload.kind.eq(Mux(listed, LOAD, DUMP)),
                sums.command.payload.count.eq(command.count),
                sums.command.payload.row.eq(command.row),
                sums.command.payload.sums.eq(command.importance),
            ]


class _Heads:
    """The importance of heads, and which of them are alive.

    Attributes:
        settled: no head has begun whose sum is not there. number_alive: how many heads are.
        sums: the row number `row` of heads, as the engine takes it.
        takes_rows, row, listed, drops_all, keeps, kept, kept_numbers: to be driven: rows of outputs
            are taken; a command's row is written; no head stays alive; those kept do.
    """

    def __init__(self, m: Module, core: CascadeController) -> None:
        config = core.config
        lanes, bits, rows = config.lanes, config.importance_bits, config.head_rows
        head_shape = core.outputs.payload.head.shape()
        self.takes_rows, self.listed, self.drops_all, self.keeps = (
            Signal(name=f"heads_{name}") for name in ("take_rows", "listed", "dropped", "kept_some")
        )
        self.row = Signal(range(rows + 1), name="heads_row")
        self.kept = Signal(lanes, name="heads_kept")
        self.kept_numbers = Signal(core._numbers, name="heads_kept_numbers")
        self.settled, self.number_alive = Signal(), Signal(range(config.heads + 1))
        m.submodules.head_importance = unit = HeadImportance(config.head_importance)
        importance = Signal(data.ArrayLayout(bits, rows * lanes), name="head_sums")
        alive = Signal(config.heads, init=(1 << config.heads) - 1)
        m.d.comb += [core.alive.eq(alive), self.number_alive.eq(sum(alive))]

        # outputs to sums: a head's magnitudes are added up, then to what it had
        numbers = Queue(m, head_shape, 3, "head_numbers")
        inside = Signal(name="inside_head")  # a head whose last row has not come
        entering = core.outputs.payload
        row = unit.i.payload
        m.d.comb += [
            core.outputs.ready.eq(self.takes_rows),
            unit.i.valid.eq(core.outputs.valid & self.takes_rows),
            row.count.eq(config.channels),
            row.last.eq(entering.last),
            row.importance.eq(0),
            unit.o.ready.eq(1),
            numbers.push.eq(unit.i.valid & entering.last),
            numbers.entering.eq(entering.head),
            numbers.pop.eq(unit.o.valid),
            self.settled.eq(~numbers.valid & ~inside),
        ]
        with m.If(unit.i.valid):
            m.d.sync += inside.eq(~entering.last)
        kept_bits = config.value_bits - config.prob_bits
        for channel in range(config.channels):
            element = entering.data[channel]
            m.d.comb += row.data[channel].eq(element[-kept_bits:].as_signed())
        with m.If(unit.o.valid):
            so_far = importance[numbers.first]
            total = saturated(so_far + unit.o.payload.importance, bits)
            m.d.sync += importance[numbers.first].eq(total)

        # the row that the engine sees
        count = Signal(range(lanes + 1), name="heads_in_row")
        self.sums = Signal(row_layout(lanes, bits + 1), name="heads_sums")
        m.d.comb += [
            count.eq(Mux(self.row == rows - 1, config.heads - (rows - 1) * lanes, lanes)),
            self.sums.count.eq(count),
            self.sums.last.eq(self.row == rows - 1),
        ]
        padded = Signal(rows * lanes, name="heads_padded")
        m.d.comb += padded.eq(alive)
        for lane in range(lanes):
            place = self.row * lanes + lane
            m.d.comb += self.sums.data[lane].eq(Cat(importance[place], padded.bit_select(place, 1)))

        # who is alive
        command = core.command.payload
        with m.If(self.listed):
            for place in range(rows * lanes):
                with m.If(command.row == place // lanes):
                    m.d.sync += importance[place].eq(command.importance[place % lanes])
                    if place < config.heads:
                        m.d.sync += alive[place].eq(command.alive[place % lanes])
        with m.If(self.drops_all):
            m.d.sync += alive.eq(0)
        with m.If(self.keeps):
            for lane in range(lanes):
                with m.If(self.kept[lane]):
                    m.d.sync += alive.bit_select(self.kept_numbers[lane], 1).eq(1)
