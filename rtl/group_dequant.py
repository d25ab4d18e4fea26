"""Group dequantizer of W2. See `sim.blocks.group_dequant`."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.streams import advances, stage
from sim.blocks.group_dequant import ACC_BITS, SCALE_BITS, GroupDequantConfig

FRACTION_BITS = 10


def group_layout(config: GroupDequantConfig) -> data.StructLayout:
    """Return the sums of a group and its metadata."""
    return data.StructLayout(
        {
            "products": signed(config.sum_bits),
            "kept": signed(config.kept_bits),
            "scale": 16,
            "zero": 2,
        }
    )


def place_layout(config: GroupDequantConfig) -> data.StructLayout:
    """Return where a group stands: its token, and whether it begins or ends a row."""
    return data.StructLayout({"token": range(max(2, config.tokens)), "first": 1, "last": 1})


def scale_integer(scale: Value) -> Value:
    """Return an FP16 number below 1 in units of 2^-24: 24 bits."""
    exponent = scale[FRACTION_BITS : FRACTION_BITS + 4]
    normal = exponent.any()
    mantissa = Cat(scale[:FRACTION_BITS], normal)
    return (mantissa << (exponent - normal)[:4])[:SCALE_BITS]


class Dequantizer:
    """Dequantizers of several rows inside another component, with a shared place.

    A pipeline of 3 registers that moves in a cycle with `moves`: T, product, sum.

    Attributes: `valid`: sums of rows that have ended are there; `sums` of each row.
    """

    def __init__(
        self,
        m: Module,
        config: GroupDequantConfig,
        moves: Value,
        valid: Value,
        place: Any,
        groups: list[Any],
    ) -> None:
        names = Cat(valid, place.last, place.first, place.token)
        early = stage(m, moves, names, "place_0")
        late = stage(m, moves, early, "place_1")
        first, token = late[2], late[3:]
        self.sums: list[Value] = []
        for row, group in enumerate(groups):
            term = self._term(m, config, moves, group, row)
            memory = Memory(shape=ACC_BITS, depth=max(2, config.tokens), init=[])
            m.submodules[f"sums_{row}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            total = Signal(signed(ACC_BITS), name=f"total_{row}")
            held = Signal(signed(ACC_BITS), name=f"sum_{row}", reset_less=True)
            m.d.comb += [
                read.addr.eq(token),
                total.eq(Mux(first, 0, read.data.as_signed()) + term),
                write.addr.eq(token),
                write.data.eq(total),
                write.en.eq(moves & late[0]),
            ]
            with m.If(moves & late[0]):
                m.d.sync += held.eq(total)
            self.sums.append(held)
        self.valid = stage(m, moves, late[0] & late[1], "sums_valid")

    def _term(
        self, m: Module, config: GroupDequantConfig, moves: Value, group: Any, row: int
    ) -> Value:
        """Return a group's T times its scale, two registers behind."""
        weighted = Mux(group.zero[0], group.kept, 0) + Mux(group.zero[1], group.kept << 1, 0)
        exact = Signal(signed(config.sum_bits), name=f"exact_{row}", reset_less=True)
        scale = Signal(signed(SCALE_BITS + 1), name=f"scale_{row}", reset_less=True)
        term = Signal(signed(config.sum_bits + SCALE_BITS + 1), name=f"term_{row}", reset_less=True)
        with m.If(moves):
            m.d.sync += [
                exact.eq(group.products - weighted),
                scale.eq(scale_integer(group.scale)),
                term.eq(exact * scale),
            ]
        return term


class GroupDequant(wiring.Component):
    """Takes sums of codes times activations, gives those of a row's weights; latency 3 cycles.

    An item is a group of one row for one token: `products`, the sum of q * x over its kept weights,
    `kept`, the sum of their x, `zero` and `scale`, an FP16 number from 0 to below 1 (its sign and
    highest exponent bit are not looked at). (products - zero * kept) * scale is summed over the
    items of a `token` from one with `first` to one with `last`, which gives an output: the sum,
    exact, signed 48 bits in units of 2^-24. An item a cycle; items of several tokens may alternate.
    """

    def __init__(self, config: GroupDequantConfig) -> None:
        self.config = config
        item = {"group": group_layout(config), "place": place_layout(config)}
        total = data.StructLayout({"sum": signed(ACC_BITS)})
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(item))),
                "o": Out(stream.Signature(total)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        item, moves = self.i.payload, Signal()
        m.d.comb += [moves.eq(advances(self.o)), self.i.ready.eq(moves)]
        rows = Dequantizer(m, self.config, moves, self.i.valid, item.place, [item.group])
        m.d.comb += [self.o.valid.eq(rows.valid), self.o.payload.sum.eq(rows.sums[0])]
        return m
