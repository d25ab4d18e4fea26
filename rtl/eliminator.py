"""Zero eliminator: prefix sum and log shifter. See `sim.blocks.eliminator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances, row_layout
from sim.blocks.eliminator import EliminatorConfig


def prefix_counts(m: Module, bits: Sequence[Value], name: str) -> list[Value]:
    """Return how many bits are set before each position, and in all: Kogge-Stone, log2 layers."""
    sums: list[Value] = list(bits)
    step = 1
    while step < len(sums):
        following: list[Value] = []
        for position, value in enumerate(sums):
            if position < step:
                following.append(value)
            else:
                total = Signal(
                    range(min(2 * step, position + 1) + 1), name=f"{name}_{step}_{position}"
                )
                m.d.comb += total.eq(value + sums[position - step])
                following.append(total)
        sums = following
        step *= 2
    return [Const(0, 1), *sums]


def eliminate(
    m: Module, elements: Sequence[Any], keep: Sequence[Value], name: str
) -> tuple[list[Value], Value]:
    """Add the logic that packs the kept elements; return the packed lanes and how many they are.

    Lanes above the count hold zero.
    """
    lanes = len(elements)
    dropped = prefix_counts(m, [~kept for kept in keep], f"{name}_dropped")
    total = Signal(range(lanes + 1), name=f"{name}_count")
    m.d.comb += total.eq(lanes - dropped[-1])
    width = len(Value.cast(elements[0]))
    counter_bits = max(1, (lanes - 1).bit_length())
    current = []
    for lane in range(lanes):
        item = Signal(1 + counter_bits + width, name=f"{name}_in_{lane}")
        shift = Signal(counter_bits, name=f"{name}_shift_{lane}")
        m.d.comb += [
            shift.eq(dropped[lane]),
            item.eq(Mux(keep[lane], Cat(keep[lane], shift, elements[lane]), 0)),
        ]
        current.append(item)
    for layer in range((lanes - 1).bit_length()):
        moved = []
        for lane in range(lanes):
            item = Signal(1 + counter_bits + width, name=f"{name}_{layer}_{lane}")
            stays = Mux(current[lane][1 + layer], 0, current[lane])
            above = lane + (1 << layer)
            if above < lanes:
                stays = Mux(current[above][1 + layer], current[above], stays)
            m.d.comb += item.eq(stays)
            moved.append(item)
        current = moved
    return [item[1 + counter_bits :] for item in current], total


class ZeroEliminator(wiring.Component):
    """Packs the kept elements of a row into its first lanes.

    Latency 1 cycle, one row a cycle. Input: `data`, `keep` mask, `last`. Output: a row.
    """

    def __init__(self, config: EliminatorConfig) -> None:
        self.config = config
        entering = data.StructLayout(
            {
                "data": data.ArrayLayout(config.width_bits, config.lanes),
                "keep": config.lanes,
                "last": 1,
            }
        )
        super().__init__(
            {
                "i": In(stream.Signature(entering)),
                "o": Out(stream.Signature(row_layout(config.lanes, config.width_bits))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        entering = self.i.payload
        lanes = range(self.config.lanes)
        packed, count = eliminate(
            m, [entering.data[lane] for lane in lanes], [entering.keep[lane] for lane in lanes], "z"
        )
        m.d.comb += self.i.ready.eq(advances(self.o))
        with m.If(advances(self.o)):
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                self.o.payload.data.eq(Cat(*packed)),
                self.o.payload.count.eq(count),
                self.o.payload.last.eq(entering.last),
            ]
        return m
