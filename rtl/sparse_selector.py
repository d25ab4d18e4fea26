"""2:4 selector. See `sim.blocks.sparse_selector`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances, fitted
from sim.blocks.sparse_selector import SparseSelectorConfig

QUAD, KEPT = 4, 2
ACTIVATION_BITS = 8


def kept_of(quads: Any, positions: Any, pair: Value, second: Value) -> tuple[Value, Value]:
    """Return the two activations that a quad gives.

    Args:
        quads: of two tokens, four activations each.
        positions: of the two kept weights.
        pair: whether both tokens are looked at, each for the same weight.
        second: whether that is the second one.
    """
    one = Mux(pair & second, positions[1], positions[0])
    two = Mux(pair & ~second, positions[0], positions[1])
    here, there = (Value.cast(quad) for quad in quads)
    low = here.word_select(one, ACTIVATION_BITS)
    high = Mux(
        pair, there.word_select(two, ACTIVATION_BITS), here.word_select(two, ACTIVATION_BITS)
    )
    return low.as_signed(), high.as_signed()


class SparseSelector(wiring.Component):
    """Selects the activations of kept weights, two a quad; latency 1 cycle, an item a cycle.

    Input: activations of two `tokens`, four a quad, and the `positions` of the two kept weights of
    each quad. Output, two a quad: those at both positions, of the first token; with `pair`, one of
    each token, at the first position or with `second` at the second.
    """

    def __init__(self, config: SparseSelectorConfig) -> None:
        self.config = config
        quads = data.ArrayLayout(data.ArrayLayout(signed(ACTIVATION_BITS), QUAD), config.quads)
        positions = data.ArrayLayout(data.ArrayLayout(2, KEPT), config.quads)
        entering = {
            "tokens": data.ArrayLayout(quads, 2),
            "positions": positions,
            "pair": 1,
            "second": 1,
        }
        kept = data.ArrayLayout(data.ArrayLayout(signed(ACTIVATION_BITS), KEPT), config.quads)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(entering))),
                "o": Out(stream.Signature(data.StructLayout({"kept": kept}))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        given, moves = self.i.payload, Signal()
        m.d.comb += [moves.eq(advances(self.o)), self.i.ready.eq(moves)]
        found: list[Value] = []
        for place in range(self.config.quads):
            quads = [given.tokens[token][place] for token in range(2)]
            found += kept_of(quads, given.positions[place], given.pair, given.second)
        with m.If(moves):
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                self.o.payload.kept.as_value().eq(
                    Cat(*(fitted(kept, ACTIVATION_BITS) for kept in found))
                ),
            ]
        return m
