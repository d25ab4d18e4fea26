"""What points cannot beat, in closed form: the bounds of `sim.bounds` as bounds of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from sim.bounds import Bounds, bounds
from sim.machines.base import BareMachine
from sim.sweep.evaluate import read_once
from workloads.errors import InputError
from workloads.trace import Trace

Range = tuple[float, float]
"""Least and most that a column may be; equal: it is known exactly."""

UNKNOWN: Range = (-math.inf, math.inf)
SLACK = 1e-9
"""Relative, of energies and rates, which a run may round in another order."""


def foresee(
    trace: Path, machines: Sequence[BareMachine], columns: Sequence[str]
) -> list[dict[str, Range] | None]:
    """Return the range of each column for each machine; None: the machine has no bounds.

    Args:
        trace: its folder.
        machines: all on this trace.
        columns: of the rows; one of which nothing is known has an infinite range.
    """
    opened = read_once(trace)
    return [_of_machine(opened, machine, columns) for machine in machines]


def _of_machine(
    trace: Trace, machine: BareMachine, columns: Sequence[str]
) -> dict[str, Range] | None:
    try:
        known = ranges(trace, machine, bounds(trace, machine))
    except InputError:  # it cannot run either, which is for the run to say, or has no closed form
        return None
    return {column: known.get(column, UNKNOWN) for column in columns}


def ranges(trace: Trace, machine: BareMachine, found: Bounds) -> dict[str, Range]:
    """Return the columns of a row of which something is known before a run."""
    exact = {
        "bound_compute_cycles": found.bound_compute_cycles,
        "bound_bandwidth_cycles": found.bound_bandwidth_cycles,
        "multiplications": found.multiplications,
        "dram_transferred_bytes": found.dram_transferred_bytes,
        "clock_hz": machine.clock_hz,
        "peak_gops": machine.peak_gops,
        "peak_gb_per_s": machine.peak_bytes_per_cycle * machine.clock_hz / 1e9,
        **{f"accuracy_{name}": value for name, value in trace.header.accuracy.items()},
    }
    known = {
        name: (float(value), float(value)) for name, value in exact.items() if value is not None
    }
    if found.area_mm2 is not None:
        known["area_mm2"] = (found.area_mm2, found.area_mm2)
    known["cycles"] = (found.cycles, math.inf)
    known["latency_ns"] = (found.latency_ns, math.inf)
    known["energy_pj"] = (found.energy_pj * (1 - SLACK), math.inf)
    if found.latency_ns > 0:
        per_s = 1e9 / found.latency_ns * (1 + SLACK)
        known["throughput_gops"] = (0.0, 2 * found.multiplications * per_s / 1e9)
        known["dram_gb_per_s"] = (0.0, found.dram_transferred_bytes * per_s / 1e9)
    return known
