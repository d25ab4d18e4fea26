"""Block-scaled exponentials: 8-bit weights of values. See `sim.blocks.exp_block`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.kv4_dequant import half_parts
from rtl.rows import Store, Table, larger, ring, tally
from rtl.streams import advances, stage
from sim.blocks.exp_block import (
    EXP_BASE,
    EXP_BITS,
    EXP_SLOPE,
    EXPONENT_BITS,
    PRODUCT_BITS,
    SEGMENT_BITS,
    UNIT_SHIFT,
    WEIGHT_BITS,
    ExpBlockConfig,
)
from sim.blocks.kv4_dequant import (
    ARGUMENT_BITS,
    CODE_BITS,
    FRACTION_BITS,
    MANTISSA_BITS,
    SCALE_BITS,
)

_ALWAYS = Const(1)
_REST_BITS = FRACTION_BITS - SEGMENT_BITS
_EXP_WIDTH = EXP_BITS + 1  # of an exponential, at most 1 << EXP_BITS
_PLACES = EXP_BITS + 1  # a shift that leaves nothing
_CUT_BITS = (PRODUCT_BITS - WEIGHT_BITS).bit_length()


def block_layout(config: ExpBlockConfig) -> data.StructLayout:
    """Return what a block's sums are scaled by and corrected with.

    Fields: `maximum`, the exponent of the block; `total` of its exponentials; `exponent` of its
    weights; `zero_sum` of weights times zero points; `ends` a row.
    """
    return data.StructLayout(
        {
            "maximum": signed(config.maximum_bits),
            "total": config.total_bits,
            "exponent": signed(EXPONENT_BITS),
            "zero_sum": config.zero_sum_bits,
            "ends": 1,
        }
    )


class BlockExponential(wiring.Component):
    """Turns the arguments of a block of keys into weights of its values that share an exponent.

    Takes a key's base-2 `argument`, FP16 `scale` (not negative) and `zero` point of its value;
    `last` marks the end of a block, `ends` with it the end of a row. A block of more than
    `block` keys never leaves. Gives a `weight` for each key, in order, and in `blocks` what is
    known of a block, offered with its last weight.

    Three passes work on different blocks: (1) store the keys and find the largest argument and
    the largest exponent of a scale, (2) exponentials, their sum, times the scales, and how long
    the largest product is, (3) cut products to 8 bits. Each takes a key a cycle, so without
    stalls outside `i.ready` never falls. From the last of n keys to its block's first weight:
    n + 10 cycles.
    """

    def __init__(self, config: ExpBlockConfig) -> None:
        self.config = config
        self._key = data.StructLayout(
            {
                "argument": signed(ARGUMENT_BITS),
                "scale": SCALE_BITS,
                "zero": CODE_BITS,
                "last": 1,
                "ends": 1,
            }
        )
        weight = data.StructLayout({"weight": WEIGHT_BITS, "last": 1})
        super().__init__(
            {
                "i": In(stream.Signature(self._key)),
                "weights": Out(stream.Signature(weight)),
                "blocks": Out(stream.Signature(block_layout(config))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        config = self.config
        product = data.StructLayout({"product": PRODUCT_BITS, "zero": CODE_BITS, "last": 1})
        keys = Store(m, "keys", self._key, config.key_depth)
        products = Store(m, "products", product, config.product_depth)
        maximum, shared = self._load(m, keys, products)
        facts, known = self._multiply(m, keys, products, maximum, shared)
        self._cut(m, products, facts, known)
        return m

    def _load(self, m: Module, keys: Store, products: Store) -> tuple[Value, Value]:
        """Add pass 1; return exponents of the block of the key read last: its own, its scales'."""
        depth, key = self.config.key_depth, self.i.payload
        takes, first = Signal(), Signal(init=1)
        m.d.comb += [
            self.i.ready.eq(keys.room),
            takes.eq(self.i.valid & keys.room),
            keys.claims.eq(takes),
            keys.writes.eq(takes),
            keys.entering.eq(key),
        ]
        _, exponent = half_parts(key.scale)
        largest, so_far = Signal(signed(ARGUMENT_BITS)), Signal(signed(ARGUMENT_BITS))
        widest, widest_so_far = Signal(5), Signal(5)
        m.d.comb += [
            largest.eq(Mux(first, key.argument, larger(so_far, key.argument))),
            widest.eq(Mux(first, exponent, larger(widest_so_far, exponent))),
        ]
        with m.If(takes):
            m.d.sync += [so_far.eq(largest), widest_so_far.eq(widest), first.eq(key.last)]
        ends = Signal()
        leaves = keys.reads & keys.ends
        known = tally(m, "blocks_known", depth, ends, leaves)
        layout = data.StructLayout({"maximum": signed(self.config.maximum_bits), "shared": 5})
        peaks = Table(m, "peaks", layout, depth)
        rounded = (largest >> FRACTION_BITS) + (largest[:FRACTION_BITS] != 0)
        m.d.comb += [
            ends.eq(takes & key.last),
            peaks.write.addr.eq(ring(m, "peaks_tail", depth, ends)),
            peaks.write.en.eq(ends),
            peaks.write.data.maximum.eq(rounded),
            peaks.write.data.shared.eq(widest),
            peaks.read.addr.eq(ring(m, "peaks_head", depth, leaves)),
            peaks.read.en.eq(keys.reads),
            keys.reads.eq((known != 0) & products.room),
        ]
        return peaks.read.data.maximum, peaks.read.data.shared

    def _multiply(
        self, m: Module, keys: Store, products: Store, maximum: Value, shared: Value
    ) -> tuple[Table, Value]:
        """Add pass 2, a pipeline that never stops; return the facts of blocks, and those there.

        A key read takes 6 cycles to its product: reading, 3 for the exponential, the product, its
        shift.
        """
        key = keys.leaving
        mantissa, exponent = half_parts(key.scale)
        carried = Signal(_carried_layout(self.config), name="carried")
        m.d.comb += [
            carried.there.eq(stage(m, _ALWAYS, keys.reads, "read")),
            carried.last.eq(key.last),
            carried.ends.eq(key.ends),
            carried.zero.eq(key.zero),
            carried.mantissa.eq(mantissa),
            carried.back.eq(shared - exponent),
            carried.shared.eq(shared),
            carried.maximum.eq(maximum),
        ]
        value = exponential(m, maximum, key.argument)
        for number in range(3):
            carried = _stage_of(m, _ALWAYS, carried, f"carried_{number}")
        total = self._total(m, value, carried)
        full = stage(m, _ALWAYS, (value * carried.mantissa)[:PRODUCT_BITS], "full")
        carried = _stage_of(m, _ALWAYS, carried, "carried_3")
        product = stage(m, _ALWAYS, full >> carried.back, "product")
        carried = _stage_of(m, _ALWAYS, carried, "carried_4")
        m.d.comb += [
            products.claims.eq(keys.reads),
            products.writes.eq(carried.there),
            products.entering.product.eq(product),
            products.entering.zero.eq(carried.zero),
            products.entering.last.eq(carried.last),
        ]
        return self._facts(m, products, carried, product, total)

    def _total(self, m: Module, value: Value, carried: Any) -> Value:
        """Return the sum of a block's exponentials, 2 cycles after its last one is there."""
        first, total = Signal(init=1, name="total_first"), Signal(self.config.total_bits)
        with m.If(carried.there):
            m.d.sync += [total.eq(Mux(first, 0, total) + value), first.eq(carried.last)]
        return stage(m, _ALWAYS, total, "block_total")

    def _facts(
        self, m: Module, products: Store, carried: Any, product: Value, total: Value
    ) -> tuple[Table, Value]:
        """Add what is known of blocks whose products are stored: written with the last one."""
        depth = self.config.product_depth
        first, so_far = Signal(init=1, name="bits_first"), Signal(PRODUCT_BITS)
        any_bit, cut, ends = Signal(PRODUCT_BITS), Signal(_CUT_BITS), Signal()
        m.d.comb += [
            any_bit.eq(Mux(first, 0, so_far) | product),
            ends.eq(carried.there & carried.last),
        ]
        with m.If(carried.there):
            m.d.sync += [so_far.eq(any_bit), first.eq(carried.last)]
        for place in range(WEIGHT_BITS, PRODUCT_BITS):
            with m.If(any_bit[place]):
                m.d.comb += cut.eq(place + 1 - WEIGHT_BITS)
        leaves = products.reads & products.ends
        known = tally(m, "blocks_multiplied", depth, ends, leaves)
        facts = Table(m, "facts", _facts_layout(self.config), depth)
        fact = facts.write.data
        m.d.comb += [
            facts.write.addr.eq(ring(m, "facts_tail", depth, ends)),
            facts.write.en.eq(ends),
            fact.cut.eq(cut),
            fact.maximum.eq(carried.maximum),
            fact.total.eq(total),
            fact.exponent.eq(cut + carried.shared - UNIT_SHIFT),
            fact.ends.eq(carried.ends),
            facts.read.addr.eq(ring(m, "facts_head", depth, leaves)),
            facts.read.en.eq(products.reads),
        ]
        return facts, known != 0

    def _cut(self, m: Module, products: Store, facts: Table, known: Value) -> None:
        """Add pass 3: three stages, each of which waits only while the next is full."""
        weights, blocks = self.weights, self.blocks
        in_read, in_cut, loads = Signal(), Signal(), Signal()
        moves_cut = ~in_cut | loads
        moves_read = ~in_read | moves_cut
        m.d.comb += products.reads.eq(known & moves_read)
        with m.If(moves_read):
            m.d.sync += in_read.eq(products.reads)
        with m.If(moves_cut):
            m.d.sync += in_cut.eq(in_read)

        # twice the weight: the lowest bit is the half that rounds
        read, fact = products.leaving, facts.read.data
        doubled = (Cat(Const(0, 1), read.product) >> fact.cut)[: WEIGHT_BITS + 1]
        doubled = stage(m, moves_cut, doubled, "doubled")
        zero = stage(m, moves_cut, read.zero, "cut_zero")
        last = stage(m, moves_cut, read.last, "cut_last")
        fact = _stage_of(m, moves_cut, fact, "cut_fact")

        weight, zero_sum = Signal(WEIGHT_BITS), Signal(self.config.zero_sum_bits)
        first, so_far = Signal(init=1, name="sum_first"), Signal(self.config.zero_sum_bits)
        highest = (1 << WEIGHT_BITS) - 1
        m.d.comb += [
            loads.eq(in_cut & advances(weights) & (~last | advances(blocks))),
            weight.eq(Mux(doubled[1:] == highest, highest, (doubled + 1) >> 1)),
            zero_sum.eq(Mux(first, 0, so_far) + weight * zero),
        ]
        with m.If(loads):
            m.d.sync += [so_far.eq(zero_sum), first.eq(last)]
        with m.If(advances(weights)):
            m.d.sync += [
                weights.valid.eq(loads),
                weights.payload.weight.eq(weight),
                weights.payload.last.eq(last),
            ]
        with m.If(advances(blocks)):
            m.d.sync += [
                blocks.valid.eq(loads & last),
                blocks.payload.maximum.eq(fact.maximum),
                blocks.payload.total.eq(fact.total),
                blocks.payload.exponent.eq(fact.exponent),
                blocks.payload.zero_sum.eq(zero_sum),
                blocks.payload.ends.eq(fact.ends),
            ]


def exponential(m: Module, maximum: Value, argument: Value) -> Signal:
    """Add 2**(argument / 1024 - maximum) with 16 fraction bits; return it 3 cycles later.

    The argument is not above the maximum, which is a whole number: only whole parts are
    subtracted.
    """
    fraction, rest = argument[_REST_BITS:FRACTION_BITS], argument[:_REST_BITS]
    down = maximum - (argument.as_signed() >> FRACTION_BITS)
    down = Mux(down > _PLACES, _PLACES, down)[: _PLACES.bit_length()]
    bases = Array(Const(base, _EXP_WIDTH) for base in EXP_BASE.tolist())
    slopes = Array(Const(slope, int(EXP_SLOPE.max()).bit_length()) for slope in EXP_SLOPE.tolist())
    base = stage(m, _ALWAYS, bases[fraction], "exp_base")
    slope = stage(m, _ALWAYS, slopes[fraction], "exp_slope")
    rest = stage(m, _ALWAYS, rest, "exp_rest")
    down = stage(m, _ALWAYS, down, "exp_down_0")
    value = stage(m, _ALWAYS, (base + ((slope * rest) >> _REST_BITS))[:_EXP_WIDTH], "exp_value")
    down = stage(m, _ALWAYS, down, "exp_down_1")
    return stage(m, _ALWAYS, value >> down, "exponential")


def _stage_of(m: Module, enable: Value, fields: Any, name: str) -> Any:
    """Return a structure one enabled cycle later."""
    register = Signal(fields.shape(), name=name)
    with m.If(enable):
        m.d.sync += register.eq(fields)
    return register


def _carried_layout(config: ExpBlockConfig) -> data.StructLayout:
    """Return what goes along with a key through pass 2; `back`: its product is shifted by it."""
    return data.StructLayout(
        {
            "there": 1,
            "last": 1,
            "ends": 1,
            "zero": CODE_BITS,
            "mantissa": MANTISSA_BITS,
            "back": 5,
            "shared": 5,
            "maximum": signed(config.maximum_bits),
        }
    )


def _facts_layout(config: ExpBlockConfig) -> data.StructLayout:
    """Return what is known of a block before its products are cut by `cut` bits."""
    return data.StructLayout(
        {
            "cut": _CUT_BITS,
            "maximum": signed(config.maximum_bits),
            "total": config.total_bits,
            "exponent": signed(EXPONENT_BITS),
            "ends": 1,
        }
    )
