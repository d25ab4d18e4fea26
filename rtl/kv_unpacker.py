"""Unpacker of a KV cache: tokens and codes from memory beats. See `sim.blocks.kv_unpacker`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.attention_row import BeatOrder
from rtl.queue import Queue
from rtl.streams import advances, require_power_of_two
from sim.blocks.kv4_dequant import CODE_BITS, SCALE_BITS
from sim.blocks.kv_unpacker import TOKEN_BITS, KvUnpackerConfig

_TOKEN_BYTES = TOKEN_BITS // 8


def token_layout() -> data.StructLayout:
    """Return the metadata of a token: FP16 scale and zero point of its key, then of its value."""
    return data.StructLayout(
        {
            "key_scale": SCALE_BITS,
            "key_zero": CODE_BITS,
            "value_scale": SCALE_BITS,
            "value_zero": CODE_BITS,
        }
    )


class KvUnpacker(wiring.Component):
    """Splits the memory beats of a head's KV cache into its tokens' metadata and its codes.

    Takes a `command`, the `keys` of a row (1 to 8,192), then its beats of `dsps` bytes: for each
    block of `block` tokens, the last may be shorter, first the metadata of its tokens (40 bits
    each, filled up to a beat), then its keys; a block's values follow the keys of the next one, as
    in `W2A8KV4Attention`, whose `tokens` and `beats` leave. Both take one a cycle; codes leave a
    cycle after they came. The queue holds the metadata of two blocks.
    """

    def __init__(self, config: KvUnpackerConfig) -> None:
        self._log_bytes = require_power_of_two("dsps", config.dsps)
        self.config = config
        beat = data.ArrayLayout(2 * CODE_BITS, config.dsps)
        command = data.StructLayout({"keys": range(config.most_keys + 1)})
        super().__init__(
            {
                "command": In(stream.Signature(command)),
                "i": In(stream.Signature(beat)),
                "tokens": Out(stream.Signature(token_layout())),
                "beats": Out(stream.Signature(beat)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        self.starts = Signal(name="row_starts")
        self.keys = self.command.payload.keys
        order = BeatOrder(m, config.block, self)
        item = data.StructLayout(
            {"data": 8 * config.dsps, "first": 1, "tokens": range(config.block + 1)}
        )
        queue = Queue(m, item, config.queue_depth, "metadata")
        described = Signal()  # the next block's metadata was taken
        place, metadata = Signal(range(config.queue_depth + 1)), Signal()
        tokens = Mux(order.keys > config.block, config.block, order.keys)
        tokens = tokens[: config.block.bit_length()]
        # times five without a product, for which Yosys would take a DSP
        size = (tokens << 2) + tokens
        beats = (size + config.dsps - 1) >> self._log_bytes
        m.d.comb += [
            self.command.ready.eq(~order.left),
            self.starts.eq(self.command.valid & ~order.left),
            metadata.eq(~order.tags.value & order.tags.first & ~described),
            self.i.ready.eq(
                order.left & Mux(metadata, queue.count != config.queue_depth, advances(self.beats))
            ),
            order.takes.eq(self.i.valid & self.i.ready & ~metadata),
            queue.push.eq(self.i.valid & self.i.ready & metadata),
            queue.entering.data.eq(self.i.payload),
            queue.entering.first.eq(place == 0),
            queue.entering.tokens.eq(tokens),
        ]
        with m.If(queue.push):
            last = place == beats - 1
            m.d.sync += [place.eq(Mux(last, 0, place + 1)), described.eq(last)]
        with m.If(order.takes):
            m.d.sync += described.eq(0)
        codes = Signal(8 * config.dsps, reset_less=True)
        m.d.comb += self.beats.payload.as_value().eq(codes)
        with m.If(advances(self.beats)):
            m.d.sync += [self.beats.valid.eq(order.takes), codes.eq(self.i.payload)]
        self._tokens(m, queue)
        return m

    def _tokens(self, m: Module, queue: Queue) -> None:
        """Add the register that metadata is shifted out of, a token at a time."""
        most = self.config.dsps + _TOKEN_BYTES - 1
        held, count = Signal(8 * most), Signal(range(most + 1), name="held_bytes")
        tokens = Signal.like(queue.first.tokens, name="held_tokens")
        rest, rest_count = Signal.like(held), Signal.like(count)
        rest_tokens, takes = Signal.like(tokens), Signal()
        beat = queue.first
        joined = Array(Cat(rest[: 8 * at], beat.data) for at in range(_TOKEN_BYTES))
        m.d.comb += [
            self.tokens.valid.eq((tokens != 0) & (count >= _TOKEN_BYTES)),
            self.tokens.payload.as_value().eq(held[:TOKEN_BITS]),
            takes.eq(self.tokens.valid & self.tokens.ready),
            rest.eq(Mux(takes, held >> TOKEN_BITS, held)),
            rest_count.eq(Mux(takes, count - _TOKEN_BYTES, count)),
            rest_tokens.eq(tokens - takes),
            queue.pop.eq(queue.valid & ((rest_tokens == 0) | (rest_count < _TOKEN_BYTES))),
        ]
        m.d.sync += [held.eq(rest), count.eq(rest_count), tokens.eq(rest_tokens)]
        with m.If(queue.pop):
            over = Mux(rest_tokens == 0, Const(0, len(count)), rest_count)
            m.d.sync += [
                held.eq(joined[over[: _TOKEN_BYTES.bit_length()]]),
                count.eq(over + self.config.dsps),
            ]
            with m.If(beat.first):
                m.d.sync += tokens.eq(beat.tokens)
