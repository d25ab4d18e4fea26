"""Rows of attention: their commands and queries, and the order in which beats reach the array."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data

from rtl.streams import stage
from sim.blocks.kv4_dequant import CODE_BITS, MULTIPLIER_BITS, SHIFT_BITS
from sim.blocks.packed_mac import NIBBLE
from sim.blocks.w2a8kv4_attention import W2A8KV4AttentionConfig

QUERY_BEATS = 2


class AttentionRow:
    """The row under way, and the next one whose command and query wait.

    A query is loaded as soon as the row under way has multiplied its last keys. The next row begins
    in the cycle behind that with `over`, or later.

    To be driven: `keys_over` and `over`: the row's last keys, its last values are multiplied. A row
    begins in cycles with `may_start`.

    Attributes: `active`; `starts`: a row begins with the next cycle; `keys` of the row that does;
    `query`: codes by channel; `multiplier`, `shift`, `query_sum`, `final`: number of the row's last
    beat of outputs.
    """

    def __init__(
        self,
        m: Module,
        config: W2A8KV4AttentionConfig,
        command: Any,
        query: Any,
        may_start: Value,
    ) -> None:
        self.keys_over, self.over = Signal(name="keys_over"), Signal(name="row_over")
        self.starts, self.active = Signal(name="row_starts"), Signal(name="row_active")
        self.multiplier = Signal(MULTIPLIER_BITS, name="row_multiplier")
        self.shift = Signal(signed(SHIFT_BITS), name="row_shift")
        self.query_sum = Signal(signed(config.dequant.sum_bits), name="row_query_sum")
        self.final = Signal(range(config.accumulate.beats), name="row_final")
        codes = data.ArrayLayout(signed(8), config.channels)
        self.query = Signal(codes, name="row_query", reset_less=True)

        have, waiting = Signal(), Signal(command.payload.shape(), name="waiting_command")
        loaded = Signal(range(QUERY_BEATS + 1), name="query_loaded")
        total = Signal(signed(config.dequant.sum_bits), name="waiting_query_sum")
        free = Signal(init=1, name="query_free")
        self.keys = waiting.keys
        takes = query.valid & query.ready
        m.d.comb += [
            command.ready.eq(~have),
            query.ready.eq(have & free & (loaded != QUERY_BEATS)),
            self.starts.eq((loaded == QUERY_BEATS) & (~self.active | self.over) & may_start),
        ]
        with m.If(command.valid & command.ready):
            m.d.sync += [have.eq(1), waiting.eq(command.payload), loaded.eq(0)]
        with m.If(takes):
            beat = query.payload
            part = tree([beat[place] for place in range(config.dsps)])
            m.d.sync += [
                loaded.eq(loaded + 1),
                total.eq(Mux(loaded == 0, 0, total) + part),
                self.query.as_value().word_select(loaded[0], 8 * config.dsps).eq(beat.as_value()),
            ]
        with m.If(self.keys_over):
            m.d.sync += free.eq(1)
        with m.If(self.over):
            m.d.sync += self.active.eq(0)
        with m.If(self.starts):
            m.d.sync += [
                have.eq(0),
                loaded.eq(0),
                free.eq(0),
                self.active.eq(1),
                self.multiplier.eq(waiting.multiplier),
                self.shift.eq(waiting.shift),
                self.query_sum.eq(total),
                self.final.eq((waiting.channels >> (config.lanes.bit_length() - 1)) - 1),
            ]


class BeatOrder:
    """What the next beat of a row is: keys run a block ahead of the values.

    `row` says that it `starts` and how many `keys` it has. To be driven: `takes` a beat.

    Attributes: `left`: a beat of the row is still to come; `tags` of the next one: of a `value`,
    the `first` or `last` of its block, the row's last of its kind (`ends`); `keys` that have not
    come.
    """

    def __init__(self, m: Module, block: int, row: Any) -> None:
        self.takes, self.left = Signal(name="takes"), Signal(name="beats_left")
        self.tags = Signal(tags_layout(), name="next_tags")
        self.keys = keys = Signal.like(row.keys, name="keys_left")
        values = Signal.like(row.keys, name="values_left")
        place = Signal(range(max(2, block)), name="place_in_block")
        leads = Signal()  # the row's first block of keys, which another may follow
        value = Signal(name="next_is_value")
        count = Mux(value, values, keys)
        m.d.comb += [
            self.tags.value.eq(value),
            self.tags.first.eq(place == 0),
            self.tags.ends.eq(count == 1),
            self.tags.last.eq(self.tags.ends | (place == block - 1)),
        ]
        with m.If(self.takes):
            m.d.sync += place.eq(Mux(self.tags.last, 0, place + 1))
            with m.If(value):
                m.d.sync += [values.eq(values - 1), self.left.eq(values != 1)]
            with m.Else():
                m.d.sync += keys.eq(keys - 1)
            with m.If(self.tags.last):
                m.d.sync += [
                    leads.eq(0),
                    value.eq(Mux(value, keys == 0, ~leads | (keys == 1))),
                ]
        with m.If(row.starts):
            m.d.sync += [
                keys.eq(row.keys),
                values.eq(row.keys),
                self.left.eq(1),
                leads.eq(1),
                value.eq(0),
            ]


class BeatIssue:
    """Beats to the operands of the array: two keys in two cycles, a value with its weight in one.

    A DSP multiplies the codes of one byte: those of channels 2i and 2i + 1. Of two keys the even
    channels go first. A beat waits in a register until its partner or its weight is there. Beside a
    key that is alone the high lanes sum what happens to be there; nobody takes it.

    Attributes: `issues`: operands enter the array; `value`: of a value; `last`: they end sums;
    `two` keys; `held`: tags of the beat that ends them.
    """

    def __init__(
        self,
        m: Module,
        config: W2A8KV4AttentionConfig,
        row: AttentionRow,
        beats: Any,
        weights: Any,
        moves: Value,
        operands: Any,
        shared: Any,
    ) -> None:
        order = BeatOrder(m, config.block, row)
        beat, tags = beats.payload.as_value(), Signal(tags_layout(), name="held_tags")
        full, held = Signal(name="beat_held"), Signal(len(beat), name="held_beat")
        second, odd = Signal(name="second_half"), Signal(len(beat) // 2, name="odd_codes")
        two = Signal(name="two_keys")
        alone = tags.last  # a key without partner
        pair, value, takes = Signal(name="pair"), Signal(name="value"), order.takes
        waits_partner = full & ~second & ~tags.value
        ready = Signal(name="beat_ready")
        m.d.comb += [
            ready.eq(
                order.left & moves & (~full | second | Mux(tags.value, weights.valid, ~alone))
            ),
            beats.ready.eq(ready),
            takes.eq(beats.valid & ready),
            pair.eq(waits_partner & moves & (alone | takes)),
            value.eq(full & ~second & tags.value & weights.valid & moves),
            weights.ready.eq(value),
        ]
        with m.If(pair):
            m.d.sync += [second.eq(1), odd.eq(odd_codes(held)), two.eq(~alone)]
        with m.If(second & moves):
            m.d.sync += second.eq(0)
        with m.If(takes):
            m.d.sync += [full.eq(1), held.eq(beat), tags.eq(order.tags)]
        with m.Elif(moves & (second | value)):
            m.d.sync += full.eq(0)

        self.value, self.two, self.held = value, two, tags
        issues = second | pair | value
        m.d.comb += [
            shared.valid.eq(issues),
            shared.mode.eq(NIBBLE),
            shared.first.eq(pair | (value & tags.first)),
            shared.last.eq(second | (value & tags.last)),
            row.keys_over.eq(second & moves & tags.ends),
            row.over.eq(value & tags.ends),
        ]
        low = Mux(second, odd, even_codes(held))
        high = Mux(second | tags.value, odd_codes(held), even_codes(beat))
        for place in range(config.dsps):
            code, query = slice(CODE_BITS * place, CODE_BITS * (place + 1)), row.query
            factor = Mux(second, query[2 * place + 1], query[2 * place])
            m.d.comb += [
                operands[place].low.eq(low[code]),
                operands[place].high.eq(high[code]),
                operands[place].factor.eq(
                    Mux(tags.value & ~second, weights.payload.weight, factor)
                ),
            ]


class Drain:
    """Sums of a block of values, held while they leave in beats of channels.

    To be driven: `loads` what the array holds.

    Attributes: `free`: they can be loaded.
    """

    def __init__(
        self, m: Module, config: W2A8KV4AttentionConfig, low: Any, high: Any, final: Value, o: Any
    ) -> None:
        self.loads, self.free = Signal(name="sums_load"), Signal(name="sums_free")
        bits = config.accumulate.raw_bits
        held = Signal(config.channels * bits, name="held_sums", reset_less=True)
        busy, place = Signal(name="sums_held"), Signal.like(final, name="sums_place")
        last_place = Signal.like(final, name="sums_final")
        takes, last = o.valid & o.ready, place == last_place
        m.d.comb += [
            o.valid.eq(busy),
            o.payload.data.as_value().eq(held[: config.lanes * bits]),
            o.payload.last.eq(last),
            self.free.eq(~busy | (takes & last)),
        ]
        with m.If(takes):
            m.d.sync += [
                held.eq(held >> (config.lanes * bits)),
                place.eq(place + 1),
                busy.eq(~last),
            ]
        with m.If(self.loads):
            lanes = [lane[:bits] for pair in zip(low, high, strict=True) for lane in pair]
            m.d.sync += [held.eq(Cat(*lanes)), busy.eq(1), place.eq(0), last_place.eq(final)]


def tags_layout() -> data.StructLayout:
    """Return what is known of a beat of codes."""
    return data.StructLayout({"value": 1, "first": 1, "last": 1, "ends": 1})


def even_codes(beat: Value) -> Value:
    """Return the lower code of each byte."""
    return Cat(*(beat[at : at + CODE_BITS] for at in range(0, len(beat), 2 * CODE_BITS)))


def odd_codes(beat: Value) -> Value:
    """Return the higher code of each byte."""
    return Cat(*(beat[at : at + CODE_BITS] for at in range(CODE_BITS, len(beat), 2 * CODE_BITS)))


def tree(terms: list[Any]) -> Value:
    """Return the sum of all terms."""
    while len(terms) > 1:
        terms = pair_sums(terms)
    return terms[0]


def pair_sums(terms: list[Any]) -> list[Any]:
    """Return the sums of two neighbours each; an odd last term stays."""
    sums = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
    return sums + ([terms[-1]] if len(terms) % 2 else [])


def staged_tree(m: Module, moves: Value, terms: list[Any], stages: int) -> Value:
    """Return the sum of all terms, two levels of a tree between registers that move."""
    for number in range(stages):
        terms = [
            stage(m, moves, term, f"tree_{number}_{place}")
            for place, term in enumerate(pair_sums(pair_sums(terms)))
        ]
    return terms[0]
