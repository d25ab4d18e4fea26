"""Matrix fetcher: rows from several memory channels, in order. See `sim.blocks.fetcher`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.queue import Queue
from rtl.streams import advances
from sim.blocks.fetcher import FetcherConfig


class MatrixFetcher(wiring.Component):
    """Fetches rows by index and hands them on in the order of the indices.

    Takes a request (base and size of a row in transactions, at most `row_transactions`), then
    beats of `lanes` row indices, the last one marked. Lane l fetches the beat's l-th row if it is
    in `mask`, one transaction a cycle at most; a channel takes the lowest lane that wants it. The
    channels are read ports with separate address and data streams, as AXI4's with one identifier:
    a channel answers in order, `r.ready` is always high. Rows leave in beats, as their indices
    came; a lane outside the mask fetches nothing and leaves as zero. A mask may be empty.

    From the last answer of a beat to its row beat 2 cycles; a beat takes at least `size` cycles.
    """

    def __init__(self, config: FetcherConfig) -> None:
        self.config = config
        lanes, bits = config.lanes, config.transaction_bits
        request = data.StructLayout(
            {"base": config.address_bits, "size": range(config.row_transactions + 1)}
        )
        indices = data.StructLayout(
            {
                "index": data.ArrayLayout(config.address_bits, lanes),
                "mask": lanes,
                "last": 1,
            }
        )
        rows = data.StructLayout(
            {
                "data": data.ArrayLayout(bits * config.row_transactions, lanes),
                "mask": lanes,
                "last": 1,
            }
        )
        super().__init__(
            {
                "request": In(stream.Signature(request)),
                "i": In(stream.Signature(indices)),
                "ar": Out(stream.Signature(config.address_bits)).array(config.channels),
                "r": In(stream.Signature(bits)).array(config.channels),
                "o": Out(stream.Signature(rows)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        lanes, channels = range(config.lanes), range(config.channels)
        channel_bits = (config.channels - 1).bit_length()
        size_shape = range(config.row_transactions + 1)

        # the request that is held, and the beat whose addresses are issued
        open_request, base, size = Signal(), Signal(config.address_bits), Signal(size_shape)
        busy, used = Signal(), Signal(config.lanes)
        issue_size = Signal(size_shape)  # of the beat whose addresses are issued
        address = [Signal(config.address_bits, name=f"address_{lane}") for lane in lanes]
        issued = [Signal(size_shape, name=f"issued_{lane}") for lane in lanes]

        # beats under way: first channel of each lane's row, size, mask, whether it is the last
        start_shape = data.ArrayLayout(max(channel_bits, 1), config.lanes)
        order = Queue(
            m,
            data.StructLayout(
                {"start": start_shape, "size": size_shape, "mask": config.lanes, "last": 1}
            ),
            config.beats,
            "order",
        )

        # addresses: one register a channel; a lane that wants it and comes first fills it
        queues, owners, granted_lane = [], [], [Signal(name=f"granted_{lane}") for lane in lanes]
        want = [Signal(range(config.channels), name=f"want_{lane}") for lane in lanes]
        wants = [Signal(name=f"wants_{lane}") for lane in lanes]
        for lane in lanes:
            m.d.comb += [
                want[lane].eq((address[lane] + issued[lane])[:channel_bits]),
                wants[lane].eq(busy & used[lane] & (issued[lane] < issue_size)),
            ]
        lane_shape = range(max(config.lanes, 2))
        for channel in channels:
            port, answer = self.ar[channel], self.r[channel]
            under_way = Signal(range(config.queue_depth + 1), name=f"under_way_{channel}")
            free = Signal(name=f"free_{channel}")
            m.d.comb += free.eq((~port.valid | port.ready) & (under_way < config.queue_depth))
            owner = Queue(m, lane_shape, config.queue_depth, f"owner_{channel}")
            answers = Queue(
                m,
                data.StructLayout({"data": config.transaction_bits, "lane": lane_shape}),
                config.queue_depth,
                f"answers_{channel}",
            )
            owners.append(owner)
            queues.append(answers)
            grant = Signal(name=f"grant_{channel}")
            with m.If(port.ready):
                m.d.sync += port.valid.eq(0)
            taken: Value | int = 0
            for lane in lanes:
                mine = Signal(name=f"grant_{channel}_{lane}")
                m.d.comb += mine.eq(free & wants[lane] & (want[lane] == channel) & ~taken)
                taken = taken | (wants[lane] & (want[lane] == channel))
                with m.If(mine):
                    m.d.comb += [grant.eq(1), granted_lane[lane].eq(1), owner.entering.eq(lane)]
                    m.d.sync += [
                        port.valid.eq(1),
                        port.payload.eq(address[lane] + issued[lane]),
                    ]
            m.d.comb += [
                owner.push.eq(grant),
                answer.ready.eq(1),
                answers.push.eq(answer.valid),
                answers.entering.data.eq(answer.payload),
                answers.entering.lane.eq(owner.first),
                owner.pop.eq(answer.valid),
            ]
            m.d.sync += under_way.eq(under_way + grant - answers.pop)
        for lane in lanes:
            with m.If(granted_lane[lane]):
                m.d.sync += issued[lane].eq(issued[lane] + 1)

        # a new beat is taken when this one has issued its last address
        remaining = [
            used[lane] & (issued[lane] + granted_lane[lane] != issue_size) for lane in lanes
        ]
        finishing = Signal()
        m.d.comb += [
            finishing.eq(~busy | ~Cat(*remaining).any()),
            self.request.ready.eq(~open_request),
            self.i.ready.eq(open_request & finishing & (order.count < config.beats)),
            order.push.eq(self.i.valid & self.i.ready),
            order.entering.size.eq(size),
            order.entering.mask.eq(self.i.payload.mask),
            order.entering.last.eq(self.i.payload.last),
        ]
        with m.If(finishing):
            m.d.sync += busy.eq(0)
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [
                open_request.eq(1),
                base.eq(self.request.payload.base),
                size.eq(self.request.payload.size),
            ]
        for lane in lanes:
            first = Signal(config.address_bits, name=f"first_{lane}")
            m.d.comb += [
                first.eq(base + self.i.payload.index[lane] * size),
                order.entering.start[lane].eq(first[:channel_bits]),
            ]
            with m.If(order.push):
                m.d.sync += [address[lane].eq(first), issued[lane].eq(0)]
        with m.If(order.push):
            m.d.sync += [busy.eq(1), used.eq(self.i.payload.mask), issue_size.eq(size)]
            with m.If(self.i.payload.last):
                m.d.sync += open_request.eq(0)

        self._assemble(m, order, queues)
        return m

    def _assemble(self, m: Module, order: Queue, queues: list[Queue]) -> None:
        """Add the rows of the oldest beat: each lane takes its answers in order. A beat goes to the
        output as its last answers are taken, so the next one follows without a gap.
        """
        config = self.config
        bits, channel_bits = config.transaction_bits, (config.channels - 1).bit_length()
        beat, moves = order.first, advances(self.o)
        full, pops = [], [[] for _ in queues]
        for lane in range(config.lanes):
            done = Signal(range(config.row_transactions + 1), name=f"done_{lane}")
            channel = Signal(range(config.channels), name=f"from_{lane}")
            takes, word = Signal(name=f"takes_{lane}"), Signal(bits, name=f"word_{lane}")
            row = Signal(bits * config.row_transactions, name=f"row_{lane}")
            following = Signal.like(row, name=f"following_{lane}")  # with what is taken now
            m.d.comb += [
                channel.eq((beat.start[lane] + done)[:channel_bits]),
                following.eq(row),
            ]
            wants = order.valid & beat.mask[lane] & (done != beat.size)
            for number, queue in enumerate(queues):
                mine = Signal(name=f"takes_{lane}_{number}")
                m.d.comb += mine.eq(
                    wants & (channel == number) & queue.valid & (queue.first.lane == lane)
                )
                pops[number].append(mine)
                with m.If(mine):
                    m.d.comb += [takes.eq(1), word.eq(queue.first.data)]
            with m.If(takes):
                m.d.comb += following.word_select(done, bits).eq(word)
                m.d.sync += [done.eq(done + 1), row.eq(following)]
            with m.If(order.pop):
                m.d.sync += [done.eq(0), row.eq(0), self.o.payload.data[lane].eq(following)]
            full.append(~beat.mask[lane] | (done + takes == beat.size))
        for queue, takers in zip(queues, pops, strict=True):
            m.d.comb += queue.pop.eq(Cat(*takers).any())
        m.d.comb += order.pop.eq(order.valid & Cat(*full).all() & moves)
        with m.If(moves):
            m.d.sync += self.o.valid.eq(order.pop)
        with m.If(order.pop):
            m.d.sync += [self.o.payload.mask.eq(beat.mask), self.o.payload.last.eq(beat.last)]
