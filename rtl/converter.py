"""Bit-width converter. See `sim.blocks.converter`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.streams import advances
from sim.blocks.converter import FULL, LSB, MSB, ConverterConfig


class Converter(wiring.Component):
    """Widens rows to the elements used on chip; latency 1 cycle, a line of rows a cycle.

    Input: `data`, the bits of each row, elements packed from the lowest bit on, and `plane`: 0 all
    bits, 1 the high bits, which are moved up, 2 the low bits. Bits that a plane lacks are zero.
    """

    def __init__(self, config: ConverterConfig) -> None:
        self.config = config
        row_bits = config.channels * config.width_bits
        entering = data.StructLayout({"data": data.ArrayLayout(row_bits, config.rows), "plane": 2})
        element = signed(config.width_bits)
        line = data.ArrayLayout(data.ArrayLayout(element, config.channels), config.rows)
        super().__init__(
            {
                "i": In(stream.Signature(entering)),
                "o": Out(stream.Signature(data.StructLayout({"data": line}))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(advances(self.o))
        with m.If(advances(self.o)):
            m.d.sync += self.o.valid.eq(self.i.valid)
            with m.Switch(self.i.payload.plane):
                for plane in (FULL, MSB, LSB):
                    with m.Case(plane):
                        for row in range(self.config.rows):
                            m.d.sync += (
                                self.o.payload.data[row]
                                .as_value()
                                .eq(self._elements(self.i.payload.data[row], plane))
                            )
        return m

    def _elements(self, row: Value, plane: int) -> Value:
        """Return a row's elements one behind another."""
        config = self.config
        bits = config.stored_bits(plane)
        below = Const(0, config.lsb_bits if plane == MSB else 0)
        above = Const(0, config.width_bits - config.lsb_bits if plane == LSB else 0)
        parts = [row[c * bits : (c + 1) * bits] for c in range(config.channels)]
        return Cat(*(Cat(below, part, above) for part in parts))
