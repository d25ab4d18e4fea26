"""What a run cannot beat, without running it: to drop points of a sweep before they are simulated.

Work and traffic are those of the run, in closed form. Cycles are those of the busiest unit or of
the memory's pins, whichever are more; energy leaves out what only a run can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.energy.area import area_table
from sim.energy.hardware import ADDRESS_BITS
from sim.energy.tables import energy_table
from sim.machines.base import BareMachine
from sim.machines.dense import Dense
from sim.machines.plan import make_plan, plane_traffic
from sim.machines.spatten import SpAtten
from sim.machines.spatten_e2e import SpAttenE2e
from sim.operations import lower, multiplications
from workloads.errors import InputError
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

    Energy is that of multiplications, of the bits that leave the DRAM and cross to the arrays, and
    of what is static during the least cycles.

    Raises:
        InputError: as `simulate`, but not for all that does not fit: a trace that a machine cannot
            hold may have bounds; or a machine without closed forms.
    """
    if not isinstance(machine, SpAtten | Dense) or isinstance(machine, SpAttenE2e):
        raise InputError(f"bounds must be of a machine that runs heads alone, not {machine.name}")
    heads = machine.adapt(lower(trace, machine.exploits, machine.operand_bits))
    plan = make_plan(trace, heads, machine.fetch, machine.memory.transaction_bytes)
    transactions = sum(int(count.sum()) for count in plane_traffic(heads, plan)[1].values())
    moved = transactions * machine.memory.transaction_bytes
    busy = max(int(unit.sum()) for unit in machine.busy_cycles(heads).values())
    pins = 0 if machine.memory.ideal else int(np.ceil(moved / machine.peak_bytes_per_cycle))
    cycles, multiplied = max(busy, pins), int(multiplications(heads).sum())
    counts = {
        "multiply": multiplied,
        "add": multiplied,
        "pipeline_register_bit": multiplied * machine.hardware.register_bits,
        "dram_background": cycles * machine.memory.channels * (not machine.memory.ideal),
        "sram_leakage": cycles,
        "logic_leakage": cycles,
        "address_crossbar_bit": transactions * ADDRESS_BITS,
        "address_fifo_bit": transactions * ADDRESS_BITS,
    }
    across = ("dram_read_bit", "dram_io_bit", "data_crossbar_bit", "data_fifo_bit")
    counts |= dict.fromkeys(across, 8 * moved)
    prices = energy_table(machine.hardware, machine.clock_hz)
    return Bounds(
        cycles=cycles,
        latency_ns=cycles / machine.clock_hz * 1e9,
        bound_compute_cycles=busy,
        bound_bandwidth_cycles=pins,
        multiplications=multiplied,
        dram_transferred_bytes=moved,
        energy_pj=sum(count * prices[event].pj for event, count in counts.items()),
        area_mm2=float(area_table(machine.hardware)["area_mm2"].sum()),
    )
