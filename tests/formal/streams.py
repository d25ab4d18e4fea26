"""Harness parts that all stream proofs share: free inputs, the stream rule, chosen items.

A proof follows one item: the solver chooses its number once for the run, so what holds for it
holds for every item that fits in the steps.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Const, Elaboratable, Module, Signal, Value
from amaranth.lib.wiring import In

COUNTER_BITS = 6
"""Bits of a count of items: no proof has as many steps as it counts."""


def stuck_on(output: Any) -> Value:
    """Stand in for `advances` in broken variants: a pipeline that never waits for its output."""
    return Const(1)


def withdraws(dut: Any, output: Any, domain: str = "sync") -> None:
    """Break a component: an item that it offers and nobody takes is gone in the next cycle.

    Args:
        dut: the component.
        output: a stream of it.
        domain: that drives the output's `valid`.
    """
    elaborate = dut.elaborate

    def broken(platform: Any) -> Module:
        m: Module = elaborate(platform)
        waits, waited = output.valid & ~output.ready, Signal(name="waited")
        m.d.sync += waited.eq(waits)
        with m.If(waits if domain == "sync" else waited):
            m.d[domain] += output.valid.eq(0)
        return m

    dut.elaborate = broken


def constant(m: Module, signal: Signal) -> None:
    """Let a free input keep its first value for the whole run, also over a reset."""
    before = Signal.like(signal, name=f"{signal.name}_before", reset_less=True)
    started = Signal(name=f"{signal.name}_started", reset_less=True)
    m.d.sync += [before.eq(signal), started.eq(1)]
    with m.If(started):
        m.d.comb += Assume(signal == before)


def moves(stream: Any) -> Value:
    """Return whether an item moves in this cycle."""
    return stream.valid & stream.ready


def follows_rule(m: Module, stream: Any, name: str, part: Any = None) -> None:
    """Assert that an offered item, or a part of it, stays unchanged until it is taken."""
    waited = Signal(name=f"{name}_waited")
    offered = Value.cast(stream.payload if part is None else part)
    before = Signal(len(offered), name=f"{name}_before")
    m.d.sync += [waited.eq(stream.valid & ~stream.ready), before.eq(offered)]
    with m.If(waited):
        m.d.comb += [Assert(stream.valid), Assert(offered == before)]


def counter(m: Module, event: Any, name: str) -> Signal:
    """Return how often an event has been, up to the cycle before."""
    count = Signal(COUNTER_BITS, name=name)
    m.d.sync += count.eq(count + event)
    return count


def held(m: Module, value: Any, when: Any, name: str) -> tuple[Signal, Signal]:
    """Return (whether there was such a cycle, the value in it)."""
    value = Value.cast(value)
    seen, kept = Signal(name=f"{name}_seen"), Signal(value.shape(), name=name)
    with m.If(when):
        m.d.sync += [seen.eq(1), kept.eq(value)]
    return seen, kept


def in_order(
    m: Module, chosen: Value, entering: Any, expected: Any, leaving: Any, found: Any, room: int
) -> None:
    """Assert that the chosen item in is the chosen item out, with what is expected of it.

    Args:
        m: the harness.
        chosen: number of the item.
        entering, expected: stream, and what shall come of the item that enters.
        leaving, found: stream, and what came of the item that leaves.
        room: items that the component may hold.
    """
    taken, left = counter(m, moves(entering), "taken"), counter(m, moves(leaving), "left")
    seen, wanted = held(m, expected, moves(entering) & (taken == chosen), "wanted")
    with m.If(moves(leaving) & (left == chosen)):
        m.d.comb += [Assert(seen), Assert(Value.cast(found) == wanted)]
    m.d.comb += [Assert(left <= taken), Assert(taken <= left + room)]


class StreamHarness(Elaboratable):
    """A component with all its streams free: what enters, when, and when outputs are taken.

    Asserts the stream rule on every output. A proof adds what must leave in `claims`.

    Attributes: `ports`: the free inputs; `chosen`: number of the item that is followed.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.inputs, self.outputs = {}, {}
        for name, member in dut.signature.members.items():
            if member.is_signature and not member.dimensions:
                streams = self.inputs if member.flow == In else self.outputs
                streams[name] = getattr(dut, name)
        self.constants: list[Signal] = []
        self.driven: list[tuple[Value, Signal]] = []
        for name, stream in self.inputs.items():
            self.free(stream.valid, f"{name}_valid")
            self.free(stream.payload, f"{name}_payload")
        for name, stream in self.outputs.items():
            self.free(stream.ready, f"{name}_ready")
        self.chosen = self.follow(3, "chosen")

    def free(self, port: Any, name: str) -> None:
        """Let the solver choose an input of the component in every cycle."""
        port = Value.cast(port)
        self.driven.append((port, Signal(len(port), name=f"free_{name}")))

    def follow(self, shape: Any, name: str) -> Signal:
        """Return a number that the solver chooses for the whole run."""
        self.constants.append(Signal(shape, name=name))
        return self.constants[-1]

    @property
    def ports(self) -> list[Signal]:
        return self.constants + [free for _, free in self.driven]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.dut = self.dut
        for signal in self.constants:
            constant(m, signal)
        m.d.comb += [port.eq(free) for port, free in self.driven]
        for name, stream in self.outputs.items():
            follows_rule(m, stream, name)
        self.claims(m)
        return m

    def claims(self, m: Module) -> None:
        """Add what this proof asserts and assumes."""
