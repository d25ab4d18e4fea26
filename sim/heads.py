"""Runs a trace head by head: what all machines do that are made for attention."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from sim.energy.account import price_columns
from sim.energy.area import area_columns
from sim.energy.tables import energy_table
from sim.operations import lower, sparsity_columns
from sim.result import Result, Tables
from sim.summary import (
    event_columns,
    flat_row,
    layer_columns,
    layers_with_energy,
    traffic_columns,
    unit_columns,
)
from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.machines.base import HeadMachine


def simulate_heads(trace: Trace, machine: HeadMachine, timeline_heads: int) -> Result:
    """Run every attention head of a trace on a machine; see `sim.run.simulate`."""
    operations = machine.operations(trace)
    unpruned = lower(trace, (), machine.operand_bits)
    record = machine.run(trace, operations, timeline_heads)
    layers = layer_columns(trace, machine, operations, record)
    events = event_columns(machine, operations, record, layers)
    hardware = machine.hardware
    table = energy_table(hardware, machine.clock_hz)
    columns: dict[str, Any] = {
        "layers": partial(layers_with_energy, layers, events, dict(table)),
        "units": unit_columns(record),
        "traffic": traffic_columns(machine, unpruned, record),
        "events": events,
        "energy": price_columns(events, table),
        "area": area_columns(hardware),
        "sparsity": sparsity_columns(trace, machine.exploits, machine.operand_bits),
        "timeline": record.timeline,
    }
    row = flat_row(trace, machine, operations, record, columns)
    return Result(row, Tables(columns), record.responses)
