"""Run a trace on a machine: the one call behind every command and sweep."""

from __future__ import annotations

from sim.machines.base import BareMachine
from sim.result import Result
from workloads.trace import Trace


def simulate(trace: Trace, machine: BareMachine, timeline_heads: int = 0) -> Result:
    """Run a trace on a machine.

    Args:
        trace: checked, as `read_trace` and `TraceBuilder.finish` return it.
        machine: from `sim.machines.make_machine`, or a configuration made directly.
        timeline_heads: number of heads, from the first, whose intervals are recorded; operators
            on a machine that does not run head by head.

    Raises:
        InputError: a head, matrix or cache that the machine cannot hold.
    """
    return machine.simulate(trace, timeline_heads)
