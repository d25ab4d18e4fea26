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

    `row` asks for `lanes` numbers of the list, `row_numbers` gives them in the same cycle.
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
                "row": In(range(max(2, config.list_rows))),
                "row_numbers": Out(self._numbers),
                "alive": Out(config.heads),
                "idle": Out(1),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, command = self.config, self.command.payload
        m.submodules.sums = sums = ImportanceAccumulator(config.token_importance)
        m.submodules.topk = topk = TopK(config.topk)
        heads = _Heads(m, self)
        between = Signal()  # no query has begun whose last row has not come
        takes, fits = Signal(), Signal()
        row_limits = {TOKENS: config.list_rows, HEADS: config.head_rows}
        beyond = Cat((command.kind == kind) & (command.row >= n) for kind, n in row_limits.items())
        too_many = (command.kind == SELECT_TOKENS) & (command.count > config.tokens)
        m.d.comb += [
            fits.eq(~beyond.any() & ~too_many),
            self.command.ready.eq(self.idle & heads.settled & between),
            takes.eq(self.command.valid & self.command.ready),
            self.refused.eq(takes & ~fits),
            heads.takes_rows.eq(self.idle & ~takes),
            heads.listed.eq(takes & fits & (command.kind == HEADS)),
        ]
        self._add_probabilities(m, sums, takes, between)
        phase = _Phase(m, self, sums, heads, takes & fits)
        self._feed(m, topk, sums, heads, phase)
        old = self._list_tokens(m, topk, sums, phase, takes & fits)
        self._leave(m, topk, heads, phase, old)
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

    def _feed(
        self, m: Module, topk: TopK, sums: ImportanceAccumulator, heads: _Heads, phase: _Phase
    ) -> None:
        """Add the way of sums to the engine: those of tokens as they are dumped, or of heads."""
        command, entering = self.command.payload, topk.i.payload
        most = Mux(command.keep > heads.number_alive, heads.number_alive, command.keep)
        m.d.comb += [
            topk.request.valid.eq(phase.selects),
            topk.request.payload.k.eq(Mux(command.kind == SELECT_HEADS, most, command.keep)),
        ]
        with m.If(phase.feeds):
            m.d.comb += [topk.i.valid.eq(1), entering.eq(heads.sums)]
        with m.Else():
            row = sums.o.payload
            m.d.comb += [
                topk.i.valid.eq(sums.o.valid),
                entering.count.eq(row.count),
                entering.last.eq(row.last),
                sums.o.ready.eq(topk.i.ready),
            ]
            for lane in range(self.config.lanes):
                m.d.comb += entering.data[lane].eq(row.data[lane])

    def _leave(self, m: Module, topk: TopK, heads: _Heads, phase: _Phase, old: Value) -> None:
        """Add the way of what the engine keeps to `kept`, and of heads to those that are alive.

        Args:
            m, topk, heads, phase: as in `elaborate`.
            old: row of the list of which the engine shows what it keeps.
        """
        kept, leaving = topk.o.payload, self.kept.payload
        number_bits = len(Value.cast(leaving.number[0]))
        m.d.comb += [
            self.kept.valid.eq(topk.o.valid),
            topk.o.ready.eq(self.kept.ready),
            leaving.count.eq(kept.count),
            leaving.last.eq(kept.last),
            heads.keeps.eq(phase.keeps & ~phase.of_tokens),
        ]
        for lane in range(self.config.lanes):
            used, number = kept.count > lane, leaving.number[lane]
            place = kept.index[lane][: self._shift] if self._shift else 0
            listed = old.word_select(place, number_bits)
            m.d.comb += [
                number.eq(Mux(used, Mux(phase.of_tokens, listed, kept.index[lane]), 0)),
                leaving.importance[lane].eq(kept.data[lane][: self.config.importance_bits]),
                heads.kept[lane].eq(used),
                heads.kept_numbers[lane].eq(number),
            ]

    def _list_tokens(
        self, m: Module, topk: TopK, sums: ImportanceAccumulator, phase: _Phase, takes: Value
    ) -> Value:
        """Add the token list, which is written, with its sums, by commands and by selections.

        Returns:
            The row of which the engine shows what it keeps.
        """
        config, command, load = self.config, self.command.payload, sums.command.payload
        number_bits = len(Value.cast(command.numbers[0]))
        memory = Memory(shape=config.lanes * number_bits, depth=config.list_rows, init=[])
        m.submodules.tokens = memory
        write = memory.write_port()
        old, asked = (memory.read_port(domain="comb") for _ in range(2))
        m.d.comb += [
            old.addr.eq(topk.o.payload.index[0] >> self._shift),
            asked.addr.eq(self.row),
            self.row_numbers.eq(asked.data),
        ]
        packer = self._pack(m, phase)
        leftover = phase.flushes & (packer.count != 0)
        with m.If(packer.writes | leftover):
            row = Signal.like(packer.full)
            m.d.comb += [
                row.eq(Mux(packer.writes, packer.full, packer.pending)),
                write.en.eq(1),
                write.addr.eq(packer.row),
                sums.command.valid.eq(1),
                load.kind.eq(LOAD),
                load.row.eq(packer.row),
            ]
            for lane in range(config.lanes):
                pair = row.word_select(lane, number_bits + config.importance_bits)
                m.d.comb += [
                    write.data.word_select(lane, number_bits).eq(pair[:number_bits]),
                    load.sums[lane].eq(pair[number_bits:]),
                ]
        with m.Else():
            listed = takes & (command.kind == TOKENS)
            dumps = takes & (command.kind == SELECT_TOKENS)
            m.d.comb += [
                write.en.eq(listed),
                write.addr.eq(command.row),
                write.data.eq(command.numbers.as_value()),
                sums.command.valid.eq(listed | dumps),
                load.kind.eq(Mux(listed, LOAD, DUMP)),
                load.count.eq(command.count),
                load.row.eq(command.row),
                load.sums.eq(command.importance),
            ]
        return old.data

    def _pack(self, m: Module, phase: _Phase) -> Packer:
        """Add what joins the tokens that leave, numbers with sums, to rows of the list."""
        config, leaving = self.config, self.kept.payload
        pairs = [
            Cat(leaving.number[lane], leaving.importance[lane]) for lane in range(config.lanes)
        ]
        packer = Packer(m, "packer", config.lanes, len(pairs[0]), config.list_rows)
        m.d.comb += packer.clears.eq(phase.flushes)
        m.d.sync += packer.appends.eq(phase.keeps & phase.of_tokens)
        with m.If(phase.keeps):
            m.d.sync += [packer.entering.eq(Cat(*pairs)), packer.number.eq(leaving.count)]
        return packer


class _Phase:
    """What is done: nothing, or a selection step by step.

    Attributes:
        selects: a selection begins. of_tokens: it is one of tokens.
        feeds: a row of heads goes to the engine. keeps: a row leaves.
        flushes: what is left of the list is written; the last step.
    """

    def __init__(
        self, m: Module, core: CascadeController, sums: ImportanceAccumulator, heads: _Heads,
        takes: Value,
    ) -> None:  # fmt: skip
        command, kept = core.command.payload, core.kept
        self.selects, self.feeds, self.keeps, self.flushes = (
            Signal(name=name) for name in ("selects", "feeds", "keeps", "flushes")
        )
        self.of_tokens = Signal(name="of_tokens")
        tokens = command.kind == SELECT_TOKENS
        m.d.comb += [
            self.selects.eq(takes & (tokens | (command.kind == SELECT_HEADS))),
            self.keeps.eq(kept.valid & kept.ready),
        ]
        with m.FSM(init="CLEAR"):
            with m.State("CLEAR"):  # of the sums, after reset
                with m.If(sums.command.ready):
                    m.next = "IDLE"
            with m.State("IDLE"):
                m.d.comb += core.idle.eq(1)
                m.d.sync += [self.of_tokens.eq(tokens), heads.row.eq(0)]
                with m.If(self.selects & tokens):
                    m.next = "KEEP"
                with m.Elif(self.selects):
                    m.next = "FEED"
            with m.State("FEED"):
                m.d.comb += self.feeds.eq(1)
                m.d.sync += heads.row.eq(heads.row + 1)
                with m.If(heads.sums.last):
                    m.d.comb += heads.drops_all.eq(1)
                    m.next = "KEEP"
            with m.State("KEEP"):
                with m.If(self.keeps & kept.payload.last):
                    m.next = "APPEND"
            with m.State("APPEND"):
                m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.comb += self.flushes.eq(1)
                m.next = "IDLE"


class _Heads:
    """The importance of heads, and which of them are alive.

    Attributes:
        settled: no head has begun whose sum is not there. number_alive: how many heads are.
        sums: the row number `row` of heads, as the engine takes it.
        takes_rows, row, listed, drops_all, keeps, kept, kept_numbers: to be driven: rows of outputs
            are taken; a command's row is written; no head stays alive; those kept do.
    """

    def __init__(self, m: Module, core: CascadeController) -> None:
        self.core, self.config = core, core.config
        lanes, bits, rows = core.config.lanes, core.config.importance_bits, core.config.head_rows
        self.takes_rows, self.listed, self.drops_all, self.keeps = (
            Signal(name=f"heads_{name}") for name in ("take_rows", "listed", "dropped", "kept_some")
        )
        self.row = Signal(range(rows + 1), name="heads_row")
        self.kept = Signal(lanes, name="heads_kept")
        self.kept_numbers = Signal(core._numbers, name="heads_kept_numbers")
        self.settled, self.number_alive = Signal(), Signal(range(core.config.heads + 1))
        self.sums = Signal(row_layout(lanes, bits + 1), name="heads_sums")
        self._importance = Signal(data.ArrayLayout(bits, rows * lanes), name="head_sums")
        self._alive = Signal(core.config.heads, init=(1 << core.config.heads) - 1)
        m.d.comb += [core.alive.eq(self._alive), self.number_alive.eq(sum(self._alive))]
        self._add(m)
        self._show(m)
        self._choose(m)

    def _add(self, m: Module) -> None:
        """Add outputs up: a head's magnitudes first, then to what it had."""
        config, outputs = self.config, self.core.outputs
        m.submodules.head_importance = unit = HeadImportance(config.head_importance)
        depth = config.head_importance.latency_cycles + 1
        numbers = Queue(m, outputs.payload.head.shape(), depth, "head_numbers")
        inside = Signal(name="inside_head")  # a head whose last row has not come
        row, entering = unit.i.payload, outputs.payload
        m.d.comb += [
            outputs.ready.eq(self.takes_rows),
            unit.i.valid.eq(outputs.valid & self.takes_rows),
            row.count.eq(config.channels),
            row.last.eq(entering.last),
            row.importance.eq(0),
            unit.o.ready.eq(1),
            numbers.push.eq(unit.i.valid & entering.last),
            numbers.entering.eq(entering.head),
            numbers.pop.eq(unit.o.valid),
            self.settled.eq(~numbers.valid & ~inside),
        ]
        for channel in range(config.channels):
            element = entering.data[channel][config.prob_bits :]
            m.d.comb += row.data[channel].eq(element.as_signed())
        with m.If(unit.i.valid):
            m.d.sync += inside.eq(~entering.last)
        with m.If(unit.o.valid):
            so_far = self._importance[numbers.first]
            total = saturated(so_far + unit.o.payload.importance, config.importance_bits)
            m.d.sync += self._importance[numbers.first].eq(total)

    def _show(self, m: Module) -> None:
        """Give a row as the engine sees it; a head that is not alive is below all that are."""
        lanes, rows = self.config.lanes, self.config.head_rows
        last = self.row == rows - 1
        alive = Signal(rows * lanes, name="heads_padded")
        m.d.comb += [
            alive.eq(self._alive),
            self.sums.count.eq(Mux(last, self.config.heads - (rows - 1) * lanes, lanes)),
            self.sums.last.eq(last),
        ]
        for lane in range(lanes):
            place = self.row * lanes + lane
            element = Cat(self._importance[place], alive.bit_select(place, 1))
            m.d.comb += self.sums.data[lane].eq(element)

    def _choose(self, m: Module) -> None:
        """Know who is alive: as a command lists, or whom a selection keeps."""
        lanes, command = self.config.lanes, self.core.command.payload
        with m.If(self.listed):
            for place in range(self.config.head_rows * lanes):
                row, lane = divmod(place, lanes)
                with m.If(command.row == row):
                    m.d.sync += self._importance[place].eq(command.importance[lane])
                    if place < self.config.heads:
                        m.d.sync += self._alive[place].eq(command.alive[lane])
        with m.If(self.drops_all):
            m.d.sync += self._alive.eq(0)
        with m.If(self.keeps):
            for lane in range(lanes):
                with m.If(self.kept[lane]):
                    m.d.sync += self._alive.bit_select(self.kept_numbers[lane], 1).eq(1)
