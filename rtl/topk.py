"""Top-k engine: quick-select and order-preserving filter. See `sim.blocks.topk`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.comparator import compare
from rtl.eliminator import eliminate, prefix_counts
from rtl.packer import Packer
from rtl.streams import advances, row_layout
from sim.blocks.topk import LFSR_SEED, LFSR_TAPS, TopKConfig
from workloads.errors import InputError


class TopK(wiring.Component):
    """Keeps the k largest of up to `depth` elements, in order; ties keep the lowest index.

    Takes a request (k), then the rows of one vector: full ones but for the last. Passes follow,
    ceil(size / lanes) + 3 cycles each: a pivot is read at random from the elements that are left,
    these stream through two comparators a lane, and two zero eliminators pack the smaller and the
    larger ones. When the pivot is the k-th largest, a copy of the input is filtered: row i leaves
    i + 3 cycles later with the values and indices that it keeps; rows that keep nothing are left
    out, but for the last. With k >= n no pass is needed. A vector longer than `depth` is not
    taken: `i.ready` stays low.
    """

    PASS_OVERHEAD_CYCLES = 3

    def __init__(self, config: TopKConfig) -> None:
        if config.pass_overhead_cycles != self.PASS_OVERHEAD_CYCLES:
            raise InputError(
                f"TopK pass_overhead_cycles must be {self.PASS_OVERHEAD_CYCLES} in RTL, "
                f"not {config.pass_overhead_cycles}"
            )
        self.config = config
        lanes, width = config.lanes, config.width_bits
        self._rows = -(-config.depth // lanes)
        leaving = data.StructLayout(
            {
                "data": data.ArrayLayout(width, lanes),
                "index": data.ArrayLayout(range(self._rows * lanes), lanes),
                "count": range(lanes + 1),
                "last": 1,
            }
        )
        super().__init__(
            {
                "request": In(stream.Signature(data.StructLayout({"k": range(config.depth + 1)}))),
                "i": In(stream.Signature(row_layout(lanes, width))),
                "o": Out(stream.Signature(leaving)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config, rows = self.config, self._rows
        lanes, width = config.lanes, config.width_bits
        row_bits, capacity = lanes * width, rows * lanes

        # registers
        have_k, bypass = Signal(), Signal()
        target = Signal(range(config.depth + 1))  # k, then the rank that is still looked for
        k = Signal(range(config.depth + 1))
        total = Signal(range(capacity + 1))  # elements loaded
        loaded = Signal(range(rows + 1))  # rows loaded
        size = Signal(range(capacity + 1))  # elements of this pass
        left = Signal(range(capacity + 1))  # of them not yet read
        row = Signal(range(rows + 1))  # next row to read
        state = Signal(16, init=LFSR_SEED)
        index = Signal(range(max(2, capacity)))  # of the pivot
        pivot = Signal(width)
        high = Signal()  # side that is read: larger elements, else smaller ones
        tail, tail_row = Signal(row_bits), Signal(range(rows + 1))
        has_tail = Signal()  # the last, partial row stands in `tail` instead of the memory
        below_total, above_total = (
            Signal(range(capacity + 1), name=f"{side}_total") for side in ("below", "above")
        )

        # memories: smaller elements and at first the input, larger elements, the input's copy
        ports = {}
        for name in ("low", "high", "copy"):
            memory = Memory(shape=row_bits, depth=rows, init=[])
            m.submodules[name] = memory
            ports[name] = (memory.write_port(), memory.read_port(domain="comb"))
        low, upper = Packer(m, "low", lanes, width, rows), Packer(m, "high", lanes, width, rows)
        for packer in (low, upper):
            write, _ = ports[packer.name]
            m.d.comb += [
                write.addr.eq(packer.row),
                write.data.eq(packer.full),
                write.en.eq(packer.writes),
            ]

        # the row that is read, and how it compares with the pivot
        filtering, running = Signal(), Signal()
        read_row = Signal(range(rows + 1))
        of_side = Mux(high, ports["high"][1].data, ports["low"][1].data)
        at_tail = has_tail & (read_row == tail_row)
        chosen = Signal(row_bits)
        m.d.comb += [
            *(port.addr.eq(read_row) for _, port in ports.values()),
            chosen.eq(Mux(filtering, ports["copy"][1].data, Mux(at_tail, tail, of_side))),
        ]
        elements = [chosen[lane * width : (lane + 1) * width] for lane in range(lanes)]
        used = Signal(range(lanes + 1))
        m.d.comb += used.eq(Mux(left > lanes, lanes, left))
        below, above, equal = compare(m, elements, used, pivot, "compare")

        # stage 1: masks; stage 2 of a pass: packed elements, appended to the memories
        moves = Signal()
        m.d.comb += moves.eq(running | (filtering & advances(self.o)))
        first = _Stage(m, lanes, width, rows)
        with m.If(moves):
            m.d.sync += [
                first.data.eq(chosen),
                first.below.eq(below),
                first.above.eq(above),
                first.equal.eq(equal),
                first.used.eq(used),
                first.row.eq(read_row),
            ]
        passing = Signal()  # stage 1 holds a row of a pass
        m.d.sync += passing.eq(running)
        appending = Signal()
        m.d.sync += appending.eq(passing)
        first_elements = [first.data[lane * width : (lane + 1) * width] for lane in range(lanes)]
        for packer, mask, count in (
            (low, first.below, below_total),
            (upper, first.above, above_total),
        ):
            packed, number = eliminate(
                m, first_elements, [mask[lane] for lane in range(lanes)], packer.name
            )
            m.d.sync += [packer.entering.eq(Cat(*packed)), packer.number.eq(number)]
            m.d.comb += packer.appends.eq(appending)
            with m.If(passing):
                m.d.sync += count.eq(count + number)

        # the pivot's address for the next pass
        next_state, next_size = Signal(16), Signal(range(capacity + 1))
        product = Signal(16 + len(next_size))
        m.d.comb += [
            next_state.eq(Mux(state[0], (state >> 1) ^ LFSR_TAPS, state >> 1)),
            product.eq(next_state * next_size),
        ]
        new_total = Signal(range(capacity + lanes + 1))
        m.d.comb += new_total.eq(total + self.i.payload.count)
        at_least = Signal(range(capacity + 1))  # elements not below the pivot
        m.d.comb += at_least.eq(size - below_total)
        shift = (lanes - 1).bit_length()

        with m.FSM():
            with m.State("LOAD"):
                m.d.comb += self.request.ready.eq(~have_k)
                with m.If(self.request.valid & ~have_k):
                    m.d.sync += [
                        have_k.eq(1),
                        k.eq(self.request.payload.k),
                        target.eq(self.request.payload.k),
                        state.eq(LFSR_SEED),
                        total.eq(0),
                        loaded.eq(0),
                        has_tail.eq(0),
                        high.eq(0),
                    ]
                m.d.comb += self.i.ready.eq(have_k & (loaded != rows))
                with m.If(self.i.valid & self.i.ready):
                    for name in ("low", "copy"):
                        write, _ = ports[name]
                        m.d.comb += [
                            write.addr.eq(loaded),
                            write.data.eq(self.i.payload.data.as_value()),
                            write.en.eq(1),
                        ]
                    m.d.sync += [total.eq(new_total), loaded.eq(loaded + 1)]
                    with m.If(self.i.payload.last):
                        m.d.comb += next_size.eq(new_total)
                        m.d.sync += [
                            size.eq(new_total),
                            left.eq(new_total),
                            state.eq(next_state),
                            index.eq(product >> 16),
                            row.eq(0),
                            have_k.eq(0),
                            bypass.eq(new_total <= k),
                        ]
                        with m.If(new_total <= k):
                            m.next = "FILTER"
                        with m.Else():
                            m.next = "PIVOT"
            with m.State("PIVOT"):
                m.d.comb += read_row.eq(index >> shift)
                of_tail = Signal(row_bits)
                m.d.comb += of_tail.eq(Mux(high, upper.pending, low.pending))
                pending_row = Mux(high, upper.row, low.row)
                from_tail = has_tail & (read_row == pending_row)
                candidates = Signal(row_bits)
                m.d.comb += candidates.eq(Mux(from_tail, of_tail, of_side))
                lane = index[:shift] if shift else Const(0, 1)
                m.d.sync += [
                    pivot.eq(candidates.word_select(lane, width)),
                    tail.eq(of_tail),
                    tail_row.eq(pending_row),
                    below_total.eq(0),
                    above_total.eq(0),
                    row.eq(0),
                    left.eq(size),
                ]
                m.d.comb += [low.clears.eq(1), upper.clears.eq(1)]
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += [running.eq(1), read_row.eq(row)]
                m.d.sync += [row.eq(row + 1), left.eq(left - used)]
                with m.If(left <= lanes):
                    m.next = "ELIMINATE"
            with m.State("ELIMINATE"):
                m.next = "DECIDE"
            with m.State("DECIDE"):
                with m.If(at_least <= target):
                    m.d.comb += next_size.eq(below_total)
                    m.d.sync += [target.eq(target - at_least), high.eq(0)]
                    m.next = "PIVOT"
                with m.Elif(above_total > target):
                    m.d.comb += next_size.eq(above_total)
                    m.d.sync += high.eq(1)
                    m.next = "PIVOT"
                with m.Else():
                    m.next = "FILTER"
                m.d.sync += [
                    has_tail.eq(1),
                    size.eq(next_size),
                    state.eq(next_state),
                    index.eq(product >> 16),
                    row.eq(0),
                    left.eq(total),
                ]
            with m.State("FILTER"):
                m.d.comb += [filtering.eq(1), read_row.eq(row)]
                with m.If(advances(self.o)):
                    m.d.sync += [row.eq(row + 1), left.eq(left - used)]
                    with m.If(row + 1 == loaded):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(self.o.valid & self.o.ready & self.o.payload.last):
                    m.next = "LOAD"

        self._filter(m, first, filtering, loaded, bypass, target - above_total)
        return m

    def _filter(
        self,
        m: Module,
        first: _Stage,
        filtering: Value,
        loaded: Value,
        bypass: Value,
        equals_kept: Value,
    ) -> None:
        """Add the stages behind the comparators that keep the elements above and some equal."""
        config = self.config
        lanes, width = config.lanes, config.width_bits
        index_bits = len(Value.cast(self.o.payload.index[0]))
        moves = advances(self.o)
        in_first, in_second = Signal(), Signal()
        seen = Signal(range(self._rows * lanes + 1))  # equal elements of the rows before
        ranks = prefix_counts(m, [first.equal[lane] for lane in range(lanes)], "equals")
        keep = Signal(lanes)
        for lane in range(lanes):
            chosen = first.above[lane] | (first.equal[lane] & (seen + ranks[lane] < equals_kept))
            m.d.comb += keep[lane].eq(Mux(bypass, first.used > lane, chosen))
        second = _Stage(m, lanes, width, self._rows)
        second_keep = Signal(lanes)
        with m.If(moves):
            m.d.sync += [
                in_first.eq(filtering),
                in_second.eq(in_first),
                second.data.eq(first.data),
                second.row.eq(first.row),
                second_keep.eq(keep),
            ]
            with m.If(in_first):
                m.d.sync += seen.eq(seen + ranks[lanes])
        with m.If(~filtering & ~in_first):
            m.d.sync += seen.eq(0)
        elements = []
        for lane in range(lanes):
            number = Signal(index_bits, name=f"index_{lane}")
            m.d.comb += number.eq(second.row * lanes + lane)
            elements.append(Cat(second.data[lane * width : (lane + 1) * width], number))
        packed, count = eliminate(
            m, elements, [second_keep[lane] for lane in range(lanes)], "filter"
        )
        last = second.row + 1 == loaded
        with m.If(moves):
            m.d.sync += [
                self.o.valid.eq(in_second & ((count != 0) | last)),
                self.o.payload.data.eq(Cat(*(item[:width] for item in packed))),
                self.o.payload.index.eq(Cat(*(item[width:] for item in packed))),
                self.o.payload.count.eq(count),
                self.o.payload.last.eq(last),
            ]


class _Stage:
    """A row between two registers."""

    def __init__(self, m: Module, lanes: int, width: int, rows: int) -> None:
        self.data = Signal(lanes * width)
        self.below, self.above, self.equal = Signal(lanes), Signal(lanes), Signal(lanes)
        self.used = Signal(range(lanes + 1))
        self.row = Signal(range(rows + 1))
