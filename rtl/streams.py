"""Payloads of the streams between blocks, and the register stages behind them.

All streams are Amaranth's: an item moves in a cycle in which `valid` and `ready` are both high. A
block's pipeline stands still as a whole while its output waits (`advances`), so a block holds one
item a stage and needs no FIFO to be stalled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data

from workloads.errors import InputError


def row_layout(lanes: int, shape: Any) -> data.StructLayout:
    """Return the payload of a row of up to `lanes` elements, packed from lane 0 on.

    Fields: `data`, `count` of elements that are there, `last` of a vector's rows.
    """
    return data.StructLayout(
        {"data": data.ArrayLayout(shape, lanes), "count": range(lanes + 1), "last": 1}
    )


def advances(output: Any) -> Value:
    """Return whether the pipeline in front of an output moves in this cycle."""
    return ~output.valid | output.ready


def stage(m: Module, enable: Value, value: Any, name: str) -> Signal:
    """Return a value one enabled cycle later."""
    register = Signal(Value.cast(value).shape(), name=name)
    with m.If(enable):
        m.d.sync += register.eq(value)
    return register


def fitted(value: Any, width: int) -> Value:
    """Return a signed value's bits in another width: cut, or the sign repeated.

    Rows of many elements are assigned in one piece of such bits; piece by piece takes Amaranth a
    time that grows with the square of their number.
    """
    bits = Value.cast(value)
    if len(bits) >= width:
        return bits[:width]
    return Cat(bits, bits[-1].replicate(width - len(bits)))


def stage_row(m: Module, enable: Value, values: Sequence[Value], name: str) -> list[Value]:
    """Return signed values one enabled cycle later, in one register without reset."""
    width = max(len(value) for value in values)
    row = Signal(data.ArrayLayout(signed(width), len(values)), name=name, reset_less=True)
    with m.If(enable):
        m.d.sync += row.as_value().eq(Cat(*(fitted(value, width) for value in values)))
    return [row[place] for place in range(len(values))]


def join(m: Module, operand: Any, line: Any, moves: Value) -> tuple[Value, Value, Any]:
    """Let an operand stream meet a line stream; return (taken, taking, entered line).

    A line waits in a register until its operand is there; an operand serves the lines up to one
    with `last`. In the cycle in which that one goes on the next operand is taken, so operands cost
    no cycle. The caller registers the operand in a cycle that is `taken`; the entered line and
    that register go on together in a cycle that is `taking`.

    Args:
        m: the module.
        operand, line: input streams; the line's payload has `last`.
        moves: whether the pipeline behind moves in this cycle.
    """
    have, full, taking = Signal(), Signal(), Signal()
    entered = Signal(line.payload.shape(), name="entered")
    m.d.comb += [
        taking.eq(have & full & moves),
        line.ready.eq(~full | taking),
        operand.ready.eq(~have | (taking & entered.last)),
    ]
    with m.If(line.ready):
        m.d.sync += [full.eq(line.valid), entered.eq(line.payload)]
    with m.If(operand.ready):
        m.d.sync += have.eq(operand.valid)
    return operand.valid & operand.ready, taking, entered


def require_power_of_two(name: str, value: int, limit: int | None = None) -> int:
    """Return the logarithm of a size to base 2.

    Raises:
        InputError: it is no power of two, or above the limit.
    """
    if value & (value - 1) or value > (limit or value):
        most = f" of at most {limit}" if limit else ""
        raise InputError(f"{name} must be a power of two{most} in RTL, not {value}")
    return value.bit_length() - 1
