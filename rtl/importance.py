"""Importance accumulators of tokens and heads. See `sim.blocks.accumulate`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.streams import advances, require_power_of_two, row_layout, stage
from sim.blocks.accumulate import CLEAR, DUMP, LOAD, HeadImportanceConfig, ImportanceConfig


def saturated(total: Value, bits: int) -> Value:
    """Return an unsigned sum in so many bits: the largest number when it does not fit."""
    return Mux(total[bits:].any(), (1 << bits) - 1, total[:bits])


class ImportanceAccumulator(wiring.Component):
    """A memory of sums to which rows of probabilities are added; one row a cycle.

    A row holds the probabilities of `count` tokens in sequence, the first one `base`; base + count
    must not exceed the tokens. `base` need not be a multiple of the lanes: token t lies in bank
    t mod lanes. A row may touch the sums of the row before it. A sum stays at its
    largest value once it reaches it.

    A command is taken between vectors (before a first row or behind a `last` one), ahead of a row
    that is offered in the same cycle. `kind` says which: DUMP, the sums of the first `count`
    tokens leave on `o` in order, ceil(count / lanes) rows, at least one, the first one 2 cycles
    after the command; lanes beyond a row's count are zero; rows are taken again after the last one
    has left. CLEAR: all sums become zero, in ceil(tokens / lanes) cycles in which nothing is
    taken; the same happens after reset. LOAD: the sums of tokens row * lanes and those behind
    become `sums`; another row or command can follow in the next cycle.
    """

    def __init__(self, config: ImportanceConfig) -> None:
        self.config = config
        lanes = config.lanes
        self._lanes_log2 = require_power_of_two("ImportanceAccumulator lanes", lanes)
        self._rows = -(-config.tokens // lanes)
        entering = data.StructLayout(
            {
                "data": data.ArrayLayout(config.prob_bits, lanes),
                "count": range(lanes + 1),
                "base": range(config.tokens),
                "last": 1,
            }
        )
        command = data.StructLayout(
            {
                "kind": range(3),
                "count": range(config.tokens + 1),
                "row": range(max(2, self._rows)),
                "sums": data.ArrayLayout(config.sum_bits, lanes),
            }
        )
        super().__init__(
            {
                "i": In(stream.Signature(entering)),
                "command": In(stream.Signature(command)),
                "o": Out(stream.Signature(row_layout(lanes, config.sum_bits))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, lanes = self.config, self.config.lanes
        inside = Signal()  # a vector whose last row has not come
        accepts, clears, reads, loads = Signal(), Signal(), Signal(), Signal()
        row = Signal(range(self._rows + 1))  # that is cleared or read next
        left = Signal(range(config.tokens + 1))  # sums that have not been read
        command = self.command.payload
        taken = self.command.valid & self.command.ready
        m.d.comb += [
            accepts.eq(self.i.valid & self.i.ready),
            loads.eq(taken & (command.kind == LOAD)),
        ]

        for bank in range(lanes):
            self._bank(m, bank, accepts, loads, clears, reads, row)

        with m.FSM(init="CLEAR"):
            with m.State("ADD"):
                m.d.comb += [
                    self.command.ready.eq(~inside),
                    self.i.ready.eq(inside | ~self.command.valid),
                ]
                with m.If(accepts):
                    m.d.sync += inside.eq(~self.i.payload.last)
                with m.If(taken):
                    m.d.sync += [row.eq(0), left.eq(command.count)]
                    with m.If(command.kind == DUMP):
                        m.next = "DUMP"
                    with m.If(command.kind == CLEAR):
                        m.next = "CLEAR"
            with m.State("CLEAR"):
                m.d.comb += clears.eq(1)
                m.d.sync += row.eq(row + 1)
                with m.If(row == self._rows - 1):
                    m.next = "ADD"
            with m.State("DUMP"):
                m.d.comb += reads.eq(advances(self.o))
                with m.If(reads):
                    m.d.sync += [
                        self.o.valid.eq(1),
                        self.o.payload.count.eq(Mux(left > lanes, lanes, left)),
                        self.o.payload.last.eq(left <= lanes),
                        row.eq(row + 1),
                        left.eq(left - lanes),
                    ]
                    with m.If(left <= lanes):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(self.o.ready):
                    m.d.sync += self.o.valid.eq(0)
                    m.next = "ADD"
        return m

    def _bank(
        self, m: Module, bank: int, accepts: Value, loads: Value, clears: Value, reads: Value,
        row: Value,
    ) -> None:  # fmt: skip
        """Add the memory of every lanes-th token and its adder.

        A row's sums are read as it is taken and written one cycle later, those of a load too; the
        read port forwards what is written in the cycle in which it reads.
        """
        config, log2 = self.config, self._lanes_log2
        memory = Memory(shape=config.sum_bits, depth=self._rows, init=[])
        m.submodules[f"bank_{bank}"] = memory
        write = memory.write_port()
        read = memory.read_port(transparent_for=(write,))

        entering, command = self.i.payload, self.command.payload
        lane = Signal(log2, name=f"lane_{bank}")  # whose probability belongs to this bank
        term = Signal(config.prob_bits, name=f"term_{bank}")
        loaded = Signal(config.sum_bits, name=f"loaded_{bank}")
        address = Signal.like(read.addr, name=f"address_{bank}")
        writes, replaces = (Signal(name=f"{name}_{bank}") for name in ("writes", "replaces"))
        m.d.comb += lane.eq(bank - entering.base[:log2])
        wraps = entering.base[:log2] > bank
        m.d.sync += [
            writes.eq((accepts & (lane < entering.count)) | loads),
            replaces.eq(loads),
            address.eq(Mux(loads, command.row, read.addr)),
            term.eq(entering.data[lane]),
            loaded.eq(command.sums[bank]),
        ]
        total = saturated(read.data + term, config.sum_bits)
        m.d.comb += [
            read.en.eq(accepts | reads),
            read.addr.eq(Mux(accepts, entering.base[log2:] + wraps, row)),
            write.en.eq(writes | clears),
            write.addr.eq(Mux(clears, row, address)),
            write.data.eq(Mux(clears, 0, Mux(replaces, loaded, total))),
        ]
        shown = self.o.payload.count > bank
        m.d.comb += self.o.payload.data[bank].eq(Mux(shown, read.data, 0))


class HeadImportance(wiring.Component):
    """Adds the magnitudes of a head's outputs to its importance; one row a cycle.

    Input rows: `data` signed, `count`, `last` row of the head, and `importance`, what the head has
    so far, read with the first row. One sum leaves for each head, `config.latency_cycles` after its
    last row: a register for the magnitudes, each level of the adder tree and the sum. It stays at
    its largest value once it reaches it.
    """

    def __init__(self, config: HeadImportanceConfig) -> None:
        self.config = config
        entering = data.StructLayout(
            {
                "data": data.ArrayLayout(signed(config.value_bits), config.lanes),
                "count": range(config.lanes + 1),
                "last": 1,
                "importance": config.sum_bits,
            }
        )
        leaving = data.StructLayout({"importance": config.sum_bits})
        super().__init__({"i": In(stream.Signature(entering)), "o": Out(stream.Signature(leaving))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, row = self.config, self.i.payload
        moves = advances(self.o)
        m.d.comb += self.i.ready.eq(moves)
        terms: list[Value] = [
            Mux(row.count > lane, abs(row.data[lane]), 0) for lane in range(config.lanes)
        ]
        arrives: Value = Cat(self.i.valid, row.last, row.importance)
        for level in range(config.latency_cycles - 1):
            if level:
                pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
                terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
            terms = [stage(m, moves, term, f"term_{level}_{n}") for n, term in enumerate(terms)]
            arrives = stage(m, moves, arrives, f"arrives_{level}")
        added, valid, last, start = terms[0], arrives[0], arrives[1], arrives[2:]
        begins = Signal(init=1)
        total = self.o.payload.importance
        with m.If(moves):
            m.d.sync += self.o.valid.eq(valid & last)
            with m.If(valid):
                m.d.sync += [
                    total.eq(saturated(Mux(begins, start, total) + added, config.sum_bits)),
                    begins.eq(last),
                ]
        return m
