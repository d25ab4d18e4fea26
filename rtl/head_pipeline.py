"""Attention of heads on chip, from filled buffers to outputs. See `sim.blocks.head_pipeline`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.late import LateLines, late_layout
from rtl.line_buffer import LineBuffer
from rtl.prob_value import ProbValue
from rtl.query_key import QueryKey
from rtl.queue import Queue
from rtl.requant import RequantDecision
from rtl.softmax import Softmax
from rtl.streams import row_layout
from rtl.topk import TopK
from rtl.widen import Scatter, Widen
from sim.blocks.head_pipeline import HeadPipelineConfig


class HeadPipeline(wiring.Component):
    """Runs heads whose Q, K and V are filled line by line; outputs leave in order of queries.

    `head`: numbers of queries and keys, V rows that each query keeps (`values`; keys or more: all),
    `lsb` (rows below `threshold` are computed again with the low bits of K), softmax `multiplier`.
    A head starts when its three matrices are stored. Its queries follow each other without a gap,
    also behind another head, as long as fewer than `results` are under way; with fewer values than
    keys a query waits until the top-k engine has taken the one before, with `lsb` until it is
    decided. A head with `lsb` starts and ends with an empty pipeline; so do heads that select
    between others that do not.

    A head with `late` starts without its V. When its selection has ended, `late` gives what it
    needs of V, in rows of `topk_lanes`, the last one marked, with a mask of those that are kept;
    the lines in which there are some are then filled as a whole V would be (at least one line is,
    if with an empty mask). V of the heads behind it must come after it.

    Queries and keys must be 1 to `tokens`, with `late` one query and fewer values than keys:
    another head is not taken, `head.ready` stays low.

    `lsb` asks, once a head at most, that the low bits of its K be filled into the given half; the
    line marked `last` tells that they are there. Outputs are exact sums, `channels` a query.
    `..._stored` tell how many matrices each buffer holds. `probabilities` shows each row of
    them, before any selection, in the cycle in which it is final.
    """

    def __init__(self, config: HeadPipelineConfig) -> None:
        self.config = config
        tokens = range(config.tokens + 1)
        self._buffers = {name: LineBuffer(config.buffer) for name in ("query", "key", "value")}
        self._softmax = Softmax(config.softmax)
        self._prob_value = ProbValue(config.prob_value)
        multiplier = self._softmax.request.payload.multiplier.shape()
        head = data.StructLayout(
            {"queries": tokens, "keys": tokens, "values": tokens, "lsb": 1, "late": 1,
             "threshold": config.width_bits, "multiplier": multiplier}
        )  # fmt: skip
        sums = data.ArrayLayout(signed(config.prob_value.sum_bits), config.channels)
        shown = data.StructLayout({"valid": 1, "row": row_layout(config.rows, config.width_bits)})
        fills = {
            f"{name}_fill": In(stream.Signature(buffer.fill.payload.shape()))
            for name, buffer in self._buffers.items()
        }
        super().__init__(
            {
                "head": In(stream.Signature(head)),
                **fills,
                **{
                    f"{name}_stored": Out(range(config.buffer.halves + 1)) for name in self._buffers
                },
                "lsb": Out(stream.Signature(data.StructLayout({"half": 1}))),
                "late": Out(
                    stream.Signature(
                        late_layout(config.topk_lanes, config.tokens // config.topk_lanes)
                    )
                ),
                "o": Out(stream.Signature(data.StructLayout({"data": sums, "last": 1}))),
                "probabilities": Out(shown),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        m.submodules += [*self._buffers.values()]
        m.submodules.query_key = query_key = QueryKey(config.query_key)
        m.submodules.softmax = softmax = self._softmax
        m.submodules.requant = requant = RequantDecision(config.requant)
        m.submodules.prob_value = prob_value = self._prob_value
        for name, buffer in self._buffers.items():
            wiring.connect(m, wiring.flipped(getattr(self, f"{name}_fill")), buffer.fill)
            m.d.comb += getattr(self, f"{name}_stored").eq(buffer.stored)
        self._connect_scores(m, query_key, softmax)
        wiring.connect(m, softmax.o, requant.i)

        m.d.comb += [
            self.probabilities.valid.eq(requant.o.valid & requant.o.ready),
            self.probabilities.row.eq(requant.o.payload),
        ]
        issue = _Issue(m, self, query_key, softmax, requant)
        lines = self._value_lines(m, requant, issue)
        self._weigh(m, lines, prob_value, issue)
        return m

    def _connect_scores(self, m: Module, query_key: QueryKey, softmax: Softmax) -> None:
        """Connect the first array, whose sums could be of all its lanes, with the softmax."""
        scores, taken = query_key.o, softmax.i
        m.d.comb += [
            taken.valid.eq(scores.valid),
            scores.ready.eq(taken.ready),
            taken.payload.count.eq(scores.payload.count),
            taken.payload.last.eq(scores.payload.last),
        ]
        for lane in range(self.config.rows):
            m.d.comb += taken.payload.data[lane].eq(scores.payload.data[lane])

    def _value_lines(self, m: Module, requant: RequantDecision, issue: _Issue) -> Any:
        """Add the ways from probabilities to lines of V: straight, or through the selection."""
        config = self.config
        m.submodules.widen = widen = Widen(config.rows, config.topk_lanes, config.width_bits)
        m.submodules.topk = topk = TopK(config.topk)
        m.submodules.scatter = scatter = Scatter(
            config.rows, config.topk_lanes, config.width_bits, config.lines, topk.o.payload.shape()
        )
        m.submodules.late = late = LateLines(
            config.rows, config.topk_lanes, config.width_bits, config.lines, topk.o.payload.shape()
        )
        wiring.connect(m, widen.o, topk.i)
        wiring.connect(m, topk.o, scatter.i)
        wiring.connect(m, late.late, wiring.flipped(self.late))
        m.d.comb += late.kept.eq(topk.o.payload)
        rows = issue.rows
        asked = Signal()  # the first row's request was taken
        m.d.comb += [
            topk.request.valid.eq(rows.valid & rows.first.prunes & ~asked),
            topk.request.payload.k.eq(rows.first.values),
            issue.selects.eq(topk.request.valid & topk.request.ready),
            widen.i.payload.eq(requant.o.payload),
        ]
        with m.If(issue.selects):
            m.d.sync += asked.eq(1)
        line = Signal(range(max(2, config.lines)))  # of V, for the straight way
        layout = data.StructLayout(
            {
                "data": data.ArrayLayout(config.width_bits, config.rows),
                "line": range(max(2, config.lines)),
                "count": range(config.rows + 1),
                "last": 1,
            }
        )
        way = stream.Signature(layout).create(path=("way",))
        with m.If(rows.first.prunes):
            m.d.comb += [
                widen.i.valid.eq(requant.o.valid & rows.valid),
                requant.o.ready.eq(widen.i.ready & rows.valid),
            ]
            with m.If(rows.first.late):
                wiring.connect(m, scatter.o, late.i)
                m.d.comb += late.notes.eq(topk.o.valid & topk.o.ready)
                self._go(m, late.o, way)
            with m.Else():
                self._go(m, scatter.o, way)
        with m.Else():
            m.d.comb += [
                way.valid.eq(requant.o.valid & rows.valid),
                requant.o.ready.eq(way.ready & rows.valid),
                way.payload.data.eq(requant.o.payload.data),
                way.payload.line.eq(line),
                way.payload.count.eq(requant.o.payload.count),
                way.payload.last.eq(requant.o.payload.last),
            ]
        with m.If(way.valid & way.ready):
            m.d.sync += line.eq(Mux(way.payload.last, 0, line + 1))
            with m.If(way.payload.last):
                m.d.comb += rows.pop.eq(1)
                m.d.sync += asked.eq(0)
        return way

    def _go(self, m: Module, lines: Any, way: Any) -> None:
        """Let the lines of a selection go on."""
        m.d.comb += [
            way.valid.eq(lines.valid),
            way.payload.data.eq(lines.payload.data),
            way.payload.line.eq(lines.payload.line),
            way.payload.count.eq(self.config.rows),
            way.payload.last.eq(lines.payload.last),
            lines.ready.eq(way.ready),
        ]

    def _weigh(self, m: Module, way: Any, prob_value: ProbValue, issue: _Issue) -> None:
        """Add the reading of V, the second array, and the outputs that wait."""
        config = self.config
        values = self._buffers["value"]
        weights = Queue(m, way.payload.shape(), 3, "weights")
        last_of_head = Queue(m, 1, config.results, "last_of_head")
        outputs = Queue(m, self.o.payload.shape(), config.results, "outputs")
        ends = way.valid & way.ready & way.payload.last
        m.d.comb += [
            values.read.valid.eq(way.valid),
            values.read.payload.line.eq(way.payload.line),
            values.read.payload.full.eq(1),
            values.read.payload.release.eq(way.payload.last & issue.rows.first.last_of_head),
            way.ready.eq(values.read.ready),
            issue.releases_values.eq(ends & issue.rows.first.last_of_head),
            weights.entering.eq(way.payload),
            weights.push.eq(way.valid & way.ready),
            last_of_head.push.eq(ends),
            last_of_head.entering.eq(issue.rows.first.last_of_head),
            prob_value.request.valid.eq(1),
            prob_value.request.payload.dim_log2.eq((config.channels - 1).bit_length()),
            prob_value.i.valid.eq(values.o.valid),
            prob_value.i.payload.values.eq(values.o.payload.data.as_value()),
            prob_value.i.payload.probabilities.eq(weights.first.data.as_value()),
            prob_value.i.payload.count.eq(weights.first.count),
            prob_value.i.payload.last.eq(weights.first.last),
            values.o.ready.eq(prob_value.i.ready),
            weights.pop.eq(values.o.valid & values.o.ready),
            prob_value.o.ready.eq(1),
            outputs.push.eq(prob_value.o.valid),
            last_of_head.pop.eq(prob_value.o.valid),
            outputs.entering.data.eq(prob_value.o.payload.data.as_value()),
            outputs.entering.last.eq(last_of_head.first),
            self.o.valid.eq(outputs.valid),
            self.o.payload.eq(outputs.first),
            outputs.pop.eq(self.o.valid & self.o.ready),
            issue.departs.eq(outputs.pop),
        ]


def fits(head: Any, tokens: int) -> Value:
    """Return whether a head can be run.

    Queries and keys are 1 to `tokens`; a late one has one query, and fewer values than keys.
    """
    numbers = (head.queries, head.keys)
    in_range = Cat((number != 0) & (number <= tokens) for number in numbers).all()
    return in_range & (~head.late | ((head.queries == 1) & (head.values < head.keys)))


class _Issue:
    """Sends queries and lines of keys into the first array, and knows what is under way.

    Attributes:
        rows: of the queries whose probabilities are final and have not become lines of V.
        selects, releases_values, departs: to be driven: the top-k engine takes a row; a head's
            values are not needed any more; an output leaves.
    """

    def __init__(
        self,
        m: Module,
        core: HeadPipeline,
        query_key: QueryKey,
        softmax: Softmax,
        requant: RequantDecision,
    ) -> None:
        self.core, config = core, core.config
        self.selects, self.releases_values, self.departs = Signal(), Signal(), Signal()
        row = data.StructLayout(
            {"prunes": 1, "late": 1, "values": range(config.tokens + 1), "last_of_head": 1}
        )
        self.rows = Queue(m, row, config.results, "rows")
        issued = Queue(m, row, config.results, "issued")
        multipliers = Queue(m, softmax.request.payload.shape(), config.results, "multipliers")
        thresholds = Queue(m, requant.request.payload.shape(), config.results, "thresholds")
        m.d.comb += [
            softmax.request.valid.eq(multipliers.valid),
            softmax.request.payload.eq(multipliers.first),
            multipliers.pop.eq(multipliers.valid & softmax.request.ready),
            requant.request.valid.eq(thresholds.valid),
            requant.request.payload.eq(thresholds.first),
            thresholds.pop.eq(thresholds.valid & requant.request.ready),
        ]
        head = Signal(core.head.payload.shape())
        self._head = head
        prunes, lines = Signal(), Signal(range(config.lines + 1))
        shift = (config.rows - 1).bit_length()
        m.d.comb += [
            prunes.eq(head.values < head.keys),
            lines.eq((head.keys + config.rows - 1) >> shift),
        ]
        query = Signal(range(config.tokens + 1))  # that is issued
        line = Signal(range(config.lines + 1))
        full = Signal()  # the second time, with low bits
        loaded = Signal()  # this head's low bits are there
        half = Signal()  # of this head's keys
        under_way = Signal(range(config.results + 1))
        selecting = Signal()  # a query is issued that the top-k engine has not taken
        # kind of this head and the last one: with low bits it needs an empty pipeline for itself,
        # and one that selects follows only others that do
        alone, was_alone, did_prune = Signal(), Signal(), Signal()
        pending = Signal(range(config.buffer.halves + 1))  # heads whose values are in use
        m.d.comb += alone.eq(head.lsb | was_alone | (prunes != did_prune))
        last_query = query + 1 == head.queries
        queries, keys, values = (core._buffers[name] for name in ("query", "key", "value"))

        goes, starts, last_line = Signal(), Signal(), Signal()
        first = line == 0
        fresh = (query == 0) & ~full  # the first query of a head
        m.d.comb += [
            last_line.eq(line + 1 == lines),
            starts.eq(
                (keys.stored != 0)
                & (queries.stored != 0)
                & (~fresh | head.late | (values.stored > pending))
                & (~fresh | ~alone | (under_way == 0))
                & (full | (under_way != config.results))
                & (full | ~selecting)
            ),
        ]
        reading = Signal()
        m.d.comb += reading.eq(goes & (~first | starts))

        # keys and query into the first array; what goes with each line
        beat = data.StructLayout({"count": range(config.rows + 1), "last": 1})
        beats = Queue(m, beat, 3, "beats")
        lanes = Queue(m, range(max(2, config.rows)), 3, "lanes")
        skip = Signal()  # release without a line
        rest = Signal(range(config.rows + 1))
        m.d.comb += [
            rest.eq(Mux(last_line, head.keys - (line << shift), config.rows)),
            keys.read.valid.eq(reading | skip),
            keys.read.payload.line.eq(line),
            keys.read.payload.full.eq(full | ~head.lsb),
            keys.read.payload.release.eq(skip | (last_line & last_query & ~head.lsb)),
            keys.read.payload.skip.eq(skip),
            queries.read.valid.eq((reading & first) | skip),
            queries.read.payload.line.eq(query >> shift),
            queries.read.payload.full.eq(1),
            queries.read.payload.release.eq(skip | (last_query & ~head.lsb)),
            queries.read.payload.skip.eq(skip),
            beats.push.eq(reading),
            beats.entering.count.eq(rest),
            beats.entering.last.eq(last_line),
            lanes.push.eq(reading & first),
            lanes.entering.eq(query[:shift] if shift else 0),
            query_key.i.valid.eq(keys.o.valid),
            query_key.i.payload.data.eq(keys.o.payload.data.as_value()),
            query_key.i.payload.count.eq(beats.first.count),
            query_key.i.payload.last.eq(beats.first.last),
            keys.o.ready.eq(query_key.i.ready),
            beats.pop.eq(keys.o.valid & keys.o.ready),
            query_key.query.valid.eq(queries.o.valid),
            query_key.query.payload.query.eq(self._chosen(queries, lanes.first)),
            query_key.query.payload.dim_log2.eq((config.channels - 1).bit_length()),
            queries.o.ready.eq(query_key.query.ready),
            lanes.pop.eq(queries.o.valid & queries.o.ready),
        ]

        # what goes with each query
        issues = Signal()
        m.d.comb += [
            issues.eq(reading & first),
            multipliers.push.eq(issues),
            multipliers.entering.multiplier.eq(head.multiplier),
            thresholds.push.eq(issues),
            thresholds.entering.threshold.eq(head.threshold),
            thresholds.entering.lsb_allowed.eq(head.lsb & ~full),
            issued.push.eq(issues),
            issued.entering.prunes.eq(prunes),
            issued.entering.late.eq(head.late),
            issued.entering.values.eq(head.values),
            issued.entering.last_of_head.eq(last_query),
        ]
        decides, again = Signal(), Signal()
        m.d.comb += [
            requant.decision.ready.eq(1),
            decides.eq(requant.decision.valid),
            again.eq(requant.decision.payload.recompute),
            issued.pop.eq(decides),
            self.rows.push.eq(decides & ~again),
            self.rows.entering.eq(issued.first),
        ]
        new = issues & ~full
        m.d.sync += [
            under_way.eq(under_way + new - self.departs),
            pending.eq(pending + (new & (query == 0)) - self.releases_values),
        ]
        with m.If(new & prunes):
            m.d.sync += selecting.eq(1)
        with m.Elif(self.selects):
            m.d.sync += selecting.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += core.head.ready.eq(fits(core.head.payload, config.tokens))
                with m.If(core.head.valid & core.head.ready):
                    m.d.sync += [
                        head.eq(core.head.payload),
                        query.eq(0),
                        line.eq(0),
                        full.eq(0),
                        loaded.eq(0),
                    ]
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += goes.eq(1)
                with m.If(reading & keys.read.ready):
                    m.d.sync += line.eq(Mux(last_line, 0, line + 1))
                    with m.If(last_line):
                        with m.If(head.lsb):
                            m.next = "DECISION"
                        with m.Else():
                            m.d.sync += query.eq(query + 1)
                            with m.If(last_query):
                                m.d.sync += [
                                    was_alone.eq(head.lsb),
                                    did_prune.eq(prunes),
                                    half.eq(~half),
                                ]
                                m.next = "IDLE"
            with m.State("DECISION"):
                with m.If(decides):
                    with m.If(again):
                        m.d.sync += full.eq(1)
                        with m.If(loaded):
                            m.next = "ISSUE"
                        with m.Else():
                            m.next = "ASK"
                    with m.Else():
                        m.d.sync += [full.eq(0), query.eq(query + 1)]
                        with m.If(last_query):
                            m.next = "RELEASE"
                        with m.Else():
                            m.next = "ISSUE"
            with m.State("ASK"):
                m.d.comb += [core.lsb.valid.eq(1), core.lsb.payload.half.eq(half)]
                with m.If(core.lsb.ready):
                    m.next = "LOAD"
            with m.State("LOAD"):
                fill = core.key_fill
                with m.If(fill.valid & fill.ready & fill.payload.lsb & fill.payload.last):
                    m.d.sync += loaded.eq(1)
                    m.next = "ISSUE"
            with m.State("RELEASE"):
                m.d.comb += skip.eq(1)
                m.d.sync += [was_alone.eq(head.lsb), did_prune.eq(prunes), half.eq(~half)]
                m.next = "IDLE"

    def _chosen(self, queries: LineBuffer, lane: Value) -> Value:
        """Return the query of a line that is meant, its channels in the low lanes."""
        config = self.core.config
        row_bits = config.channels * config.width_bits
        return queries.o.payload.data.as_value().word_select(lane, row_bits)
