"""A first-in, first-out queue whose oldest item can be seen, in registers or small memory."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.memory import Memory


class Queue:
    """Logic of a queue inside another component.

    Attributes:
        push, pop: drive these; pushing a full queue or popping an empty one is a mistake.
        entering: drive with the item that is pushed.
        first: the oldest item.
        valid: there is one.
        count: how many there are.
    """

    def __init__(self, m: Module, shape: Any, depth: int, name: str) -> None:
        self.depth = depth
        width = Value.cast(Signal(shape)).shape().width
        self.entering = Signal(shape, name=f"{name}_entering")
        self.first = Signal(shape, name=f"{name}_first")
        self.push, self.pop = Signal(name=f"{name}_push"), Signal(name=f"{name}_pop")
        self.valid = Signal(name=f"{name}_valid")
        self.count = Signal(range(depth + 1), name=f"{name}_count")
        memory = Memory(shape=width, depth=depth, init=[])
        m.submodules[name] = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        head, end = (Signal(range(max(depth, 2)), name=f"{name}_{at}") for at in ("head", "end"))
        m.d.comb += [
            write.addr.eq(end),
            write.data.eq(Value.cast(self.entering)),
            write.en.eq(self.push),
            read.addr.eq(head),
            Value.cast(self.first).eq(read.data),
            self.valid.eq(self.count != 0),
        ]
        with m.If(self.push):
            m.d.sync += _advance(end, depth)
        with m.If(self.pop):
            m.d.sync += _advance(head, depth)
        m.d.sync += self.count.eq(self.count + self.push - self.pop)


def _advance(pointer: Signal, depth: int) -> Any:
    return pointer.eq(Mux(pointer == depth - 1, 0, pointer + 1))
