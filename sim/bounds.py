"""What a run cannot beat, without running it: to drop points of a sweep before they are simulated.

Work and traffic are those of the run, in closed form. Cycles are those of the busiest unit or of
the memory's pins, whichever are more; energy leaves out what only a run can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.energy.area import area_mm2
from sim.energy.tables import Constant, dram_table, energy_table
from sim.machines.base import BareMachine, Foreseen, HeadMachine
from sim.summary import bandwidth_cycles, moved_events, static_events
from workloads.trace import Trace


@dataclass(frozen=True)
class Bounds:
    """Of one trace on one machine, beside the columns of the same names of a flat row."""

    cycles: int  # at least
    latency_ns: float  # at least
    bound_compute_cycles: int  # equal
    bound_bandwidth_cycles: int  # equal
    multiplications: int  # equal
    dram_transferred_bytes: int  # equal
    energy_pj: float  # at least
    area_mm2: float | None  # equal; None: the machine's area is not known


def bounds(trace: Trace, machine: BareMachine) -> Bounds:
    """Return what `simulate` reports at least, or exactly.

    Energy is that of multiplications, of the bits that leave the DRAM and, on a machine whose logic
    is priced, cross to the arrays, and of what is static during the least cycles.

    Raises:
        InputError: as `simulate`, but not for all that does not fit: a trace that a machine cannot
            hold may have bounds.
    """
    foreseen = machine.foresee(trace)
    transferred = foreseen.transactions * machine.memory.transaction_bytes
    bandwidth = bandwidth_cycles(machine, transferred)
    cycles = max(foreseen.busy_cycles, bandwidth)
    prices, counts = _priced(machine, foreseen, cycles)
    return Bounds(
        cycles=cycles,
        latency_ns=cycles / machine.clock_hz * 1e9,
        bound_compute_cycles=foreseen.busy_cycles,
        bound_bandwidth_cycles=bandwidth,
        multiplications=foreseen.multiplications,
        dram_transferred_bytes=transferred,
        energy_pj=sum(count * prices[event].pj for event, count in counts.items()),
        area_mm2=area_mm2(machine.hardware) if isinstance(machine, HeadMachine) else None,
    )


def _priced(
    machine: BareMachine, foreseen: Foreseen, cycles: int
) -> tuple[Mapping[str, Constant], dict[str, int]]:
    """Return what events cost, and how often those happen at least that are foreseen."""
    moved = foreseen.transactions * machine.memory.transaction_bytes
    counts = moved_events(machine, moved) | static_events(machine, cycles)
    if not isinstance(machine, HeadMachine):
        table = dram_table(machine.clock_hz)
        return table, {event: count for event, count in counts.items() if event in table}
    hardware, multiplied = machine.hardware, foreseen.multiplications
    counts |= {
        "multiply": multiplied,
        "add": multiplied,
        "pipeline_register_bit": multiplied * hardware.register_bits,
    }
    return energy_table(hardware, machine.clock_hz), counts
