"""Comparator array: a row against a pivot. See `sim.blocks.comparator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances
from sim.blocks.comparator import ComparatorConfig


def compare(
    m: Module, elements: Sequence[Any], count: Value, pivot: Value, name: str
) -> tuple[Value, Value, Value]:
    """Add one comparator each way a lane; return masks of lanes below, above and equal."""
    lanes = len(elements)
    below, above, equal = (Signal(lanes, name=f"{name}_{side}") for side in ("lt", "gt", "eq"))
    for lane, element in enumerate(elements):
        used = Signal(name=f"{name}_used_{lane}")
        m.d.comb += [
            used.eq(count > lane),
            below[lane].eq(used & (element < pivot)),
            above[lane].eq(used & (element > pivot)),
            equal[lane].eq(used & (element == pivot)),
        ]
    return below, above, equal


def population(m: Module, mask: Value, name: str) -> Signal:
    """Return how many bits of a mask are set: a tree of adders."""
    terms: list[Value] = [mask[bit] for bit in range(len(mask))]
    total = Signal(range(len(terms) + 1), name=name)
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + ([terms[-1]] if len(terms) % 2 else [])
    m.d.comb += total.eq(terms[0])
    return total


class ComparatorArray(wiring.Component):
    """Compares the elements of a row with a pivot.

    Latency 1 cycle, one row a cycle. Input: `data`, `count`, `pivot`. Output: masks `below` and
    `above` by lane, and the number of elements that are `equal`.
    """

    def __init__(self, config: ComparatorConfig) -> None:
        self.config = config
        lanes, width = config.lanes, config.width_bits
        entering = data.StructLayout(
            {"data": data.ArrayLayout(width, lanes), "count": range(lanes + 1), "pivot": width}
        )
        leaving = data.StructLayout({"below": lanes, "above": lanes, "equal": range(lanes + 1)})
        super().__init__({"i": In(stream.Signature(entering)), "o": Out(stream.Signature(leaving))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        row = self.i.payload
        elements = [row.data[lane] for lane in range(self.config.lanes)]
        below, above, equal = compare(m, elements, row.count, row.pivot, "c")
        count = population(m, equal, "equal")
        m.d.comb += self.i.ready.eq(advances(self.o))
        with m.If(advances(self.o)):
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                self.o.payload.eq(Cat(below, above, count)),
            ]
        return m
