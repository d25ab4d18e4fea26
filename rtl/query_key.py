"""Query times keys: multipliers and a reconfigurable adder tree. See `sim.blocks.dotprod`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances, fitted, join, require_power_of_two, row_layout, stage, stage_row
from sim.blocks.dotprod import QueryKeyConfig
from workloads.errors import InputError


class QueryKey(wiring.Component):
    """Multiplies a query with lines of keys; one line a cycle, exact sums.

    `query` gives the query of the lines that follow, up to one with `last`: channels in the low
    lanes, and `dim_log2`, the head dimension rounded up to a power of two. A line holds `count`
    keys in segments of max(2^dim_log2, multipliers / max_scores_per_cycle) lanes; lanes of a
    segment beyond the head's dimension must hold zeros. Each segment gives one score, in order, in
    the low lanes of `o`; scores beyond the count have no meaning. A dimension cannot exceed the
    array: a `dim_log2` above that of the whole array acts as the whole array.

    A score has 2 width_bits + log2(multipliers) bits, signed, and cannot overflow. Latency from
    line to scores: input register, multiply, one register a level of the tree, whatever the
    dimension; registers behind the tree make it `config.latency_cycles`. The next query is taken
    while the lines of the one before are in the pipeline, so it costs no cycle.
    """

    def __init__(self, config: QueryKeyConfig) -> None:
        self.config = config
        lanes, scores, width = config.multipliers, config.max_scores_per_cycle, config.width_bits
        self._levels = require_power_of_two("QueryKey multipliers", lanes)
        scores_log2 = require_power_of_two("QueryKey max_scores_per_cycle", scores, lanes)
        self._whole_levels = self._levels - scores_log2  # levels that no head dimension cuts
        self._delays = config.latency_cycles - self._levels - 2
        if self._delays < 0:
            raise InputError(
                f"QueryKey latency_cycles must be at least {self._levels + 2} for {lanes} "
                f"multipliers, not {config.latency_cycles}"
            )
        channels = data.ArrayLayout(signed(width), lanes)
        query = data.StructLayout({"query": channels, "dim_log2": range(self._levels + 1)})
        line = data.StructLayout({"data": channels, "count": range(scores + 1), "last": 1})
        leaving = row_layout(scores, signed(2 * width + self._levels))
        super().__init__(
            {
                "query": In(stream.Signature(query)),
                "i": In(stream.Signature(line)),
                "o": Out(stream.Signature(leaving)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        lanes = range(self.config.multipliers)
        moves = Signal()
        m.d.comb += moves.eq(advances(self.o))

        # the query, spread over all segments, and the line that it meets
        taken, taking, line = join(m, self.query, self.i, moves)
        query = Signal(self.query.payload.query.shape(), reset_less=True)
        dim_log2 = Signal.like(self.query.payload.dim_log2)
        with m.If(taken):
            m.d.sync += dim_log2.eq(self.query.payload.dim_log2)
            spread = [fitted(self._spread(lane), self.config.width_bits) for lane in lanes]
            m.d.sync += query.as_value().eq(Cat(*spread))

        terms = [query[lane] * line.data[lane] for lane in lanes]
        terms = stage_row(m, moves, terms, "products")
        control = stage(m, moves, Cat(taking, line.last, line.count, dim_log2), "control_0")
        for level in range(1, self._levels + 1):
            dim = control[-len(dim_log2) :]
            terms = stage_row(m, moves, self._level(terms, dim, level), f"sums_{level}")
            control = stage(m, moves, control, f"control_{level}")
        for delay in range(self._delays):
            terms = stage_row(m, moves, terms, f"late_{delay}")
            control = stage(m, moves, control, f"control_late_{delay}")

        m.d.comb += [self.o.payload.data[lane].eq(term) for lane, term in enumerate(terms)]
        m.d.comb += Cat(self.o.valid, self.o.payload.last, self.o.payload.count).eq(control)
        return m

    def _spread(self, lane: int) -> Value:
        """Return the channel of the entering query that a lane multiplies."""
        entering = self.query.payload
        channel: Value = entering.query[lane % (1 << self._whole_levels)]
        for dim_log2 in range(self._whole_levels + 1, self._levels + 1):
            place = lane % (1 << dim_log2)
            if place >> (dim_log2 - 1):
                channel = Mux(entering.dim_log2 >= dim_log2, entering.query[place], channel)
        return channel

    def _level(self, terms: list[Value], dim_log2: Value, level: int) -> list[Value]:
        """Return the terms behind one level of the tree.

        The first levels halve them. Behind these one term is left for each score of the smallest
        dimension; a level adds pairs of those that are scores of a larger one, or lets them pass.
        """
        if level <= self._whole_levels:
            return [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
        pairs = 1 << (self._levels - level)
        adds = dim_log2 >= level
        sums = [Mux(adds, terms[2 * n] + terms[2 * n + 1], terms[n]) for n in range(pairs)]
        return sums + [Mux(adds, 0, term) for term in terms[pairs:]]
