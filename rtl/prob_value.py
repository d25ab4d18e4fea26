"""Probabilities times values, summed over the lines of a query. See `sim.blocks.dotprod`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances, fitted, join, require_power_of_two, stage, stage_row
from sim.blocks.dotprod import ProbValueUnitConfig
from workloads.errors import InputError


class ProbValue(wiring.Component):
    """Adds up value rows weighted by probabilities; one line a cycle, exact sums.

    `request` gives `dim_log2`, the head dimension rounded up to a power of two, of the lines that
    follow, up to one with `last`. A line holds `count` value rows in segments of
    max(2^dim_log2, multipliers / max_rows_per_cycle) lanes, and the probability of each; lanes of
    a segment beyond the head's dimension must hold zeros, rows beyond the count are left out. A
    dimension cannot exceed the array: a `dim_log2` above that of the whole array acts as the whole
    array. Each query gives one item: the sums in the segment's low lanes, other lanes zero.

    A sum has 2 width_bits + 10 bits, signed: no overflow for up to 1,024 rows a query, beyond them
    it may wrap. Latency from a query's last line to its sums: input register, multiply, add;
    registers before the multipliers make it `config.latency_cycles`. The next request is taken
    while the lines of the one before are in the pipeline, so it costs no cycle.
    """

    STAGES = 3
    """Registers without delay."""

    def __init__(self, config: ProbValueUnitConfig) -> None:
        self.config = config
        lanes, rows, width = config.multipliers, config.max_rows_per_cycle, config.width_bits
        self._levels = require_power_of_two("ProbValue multipliers", lanes)
        rows_log2 = require_power_of_two("ProbValue max_rows_per_cycle", rows, lanes)
        self._smallest_log2 = self._levels - rows_log2  # logarithm of the smallest segment
        self._delays = config.latency_cycles - self.STAGES
        if self._delays < 0:
            raise InputError(
                f"ProbValue latency_cycles must be at least {self.STAGES} for {lanes} "
                f"multipliers, not {config.latency_cycles}"
            )
        request = data.StructLayout({"dim_log2": range(self._levels + 1)})
        line = data.StructLayout(
            {
                "values": data.ArrayLayout(signed(width), lanes),
                "probabilities": data.ArrayLayout(width, rows),
                "count": range(rows + 1),
                "last": 1,
            }
        )
        sums = data.ArrayLayout(signed(config.sum_bits), lanes)
        super().__init__(
            {
                "request": In(stream.Signature(request)),
                "i": In(stream.Signature(line)),
                "o": Out(stream.Signature(data.StructLayout({"data": sums}))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        lanes = range(self.config.multipliers)
        moves = Signal()
        m.d.comb += moves.eq(advances(self.o))

        taken, valid, entered = join(m, self.request, self.i, moves)
        dim_log2 = Signal.like(self.request.payload.dim_log2)
        with m.If(taken):
            m.d.sync += dim_log2.eq(self.request.payload.dim_log2)
        line = entered
        for delay in range(self._delays):
            valid = stage(m, moves, valid, f"valid_{delay}")
            dim_log2 = stage(m, moves, dim_log2, f"dim_log2_{delay}")
            late = Signal(entered.shape(), name=f"line_{delay}")
            with m.If(moves):
                m.d.sync += late.eq(line)
            line = late

        weights = self._weights(m, line, dim_log2)
        products = [line.values[lane] * weights[lane >> self._smallest_log2] for lane in lanes]
        products = stage_row(m, moves, products, "products")
        valid = stage(m, moves, valid, "valid_products")
        last = stage(m, moves, line.last, "last_products")
        dim_log2 = stage(m, moves, dim_log2, "dim_log2_products")

        begins = Signal(init=1)  # of the lines of a query
        sums = self._fold(m, products, dim_log2)
        held = Signal(self.o.payload.data.shape(), reset_less=True)
        with m.If(moves):
            m.d.sync += self.o.valid.eq(valid & last)
        with m.If(moves & valid):
            m.d.sync += begins.eq(last)
            width = self.config.sum_bits
            added = [Mux(begins, 0, held[lane]) + sums[lane] for lane in lanes]
            m.d.sync += held.as_value().eq(Cat(*(fitted(total, width) for total in added)))
        m.d.comb += self.o.payload.data.eq(held)
        return m

    def _weights(self, m: Module, line: Any, dim_log2: Value) -> list[Value]:
        """Return the probability that weights each of the smallest segments."""
        rows = range(self.config.max_rows_per_cycle)
        given = [Mux(line.count > row, line.probabilities[row], 0) for row in rows]
        weights: list[Value] = []
        for segment in rows:
            weight = Signal(self.config.width_bits, name=f"weight_{segment}")
            chosen: Value = given[segment]
            for more in range(1, self._levels - self._smallest_log2 + 1):
                wider = dim_log2 >= self._smallest_log2 + more
                chosen = Mux(wider, given[segment >> more], chosen)
            m.d.comb += weight.eq(chosen)
            weights.append(weight)
        return weights

    def _fold(self, m: Module, products: list[Value], dim_log2: Value) -> list[Value]:
        """Return the products summed by channel: the upper half is added to the lower one while
        it holds other rows."""
        sums = list(products)
        for half_log2 in range(self._levels - 1, self._smallest_log2 - 1, -1):
            half = 1 << half_log2
            folds = dim_log2 <= half_log2
            width = len(sums[0]) + 1
            lower = Signal(data.ArrayLayout(signed(width), half), name=f"folded_{half}")
            upper = sums[half : 2 * half]
            for lane in range(half):
                m.d.comb += lower[lane].eq(sums[lane] + Mux(folds, upper[lane], 0))
            kept = [Mux(folds, 0, value) for value in upper]
            sums = [lower[lane] for lane in range(half)] + kept + sums[2 * half :]
        return sums
