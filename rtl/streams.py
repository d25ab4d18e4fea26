"""Payloads of the streams between blocks, and the register stages behind them.

All streams are Amaranth's: an item moves in a cycle in which `valid` and `ready` are both high. A
block's pipeline stands still as a whole while its output waits (`advances`), so a block holds one
item a stage and needs no FIFO to be stalled.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data


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
