"""Runs a trace head by head: what all machines do that are made for attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.energy.account import price, price_layers
from sim.energy.area import area_table
from sim.energy.tables import energy_table
from sim.operations import lower, sparsity_table
from sim.result import Result
from sim.summary import (
    event_table,
    flat_row,
    layer_table,
    traffic_table,
    unit_table,
)
from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.machines.base import HeadMachine


def simulate_heads(trace: Trace, machine: HeadMachine, timeline_heads: int) -> Result:
    """Run every attention head of a trace on a machine; see `sim.run.simulate`."""
    operations = machine.adapt(lower(trace, machine.exploits, machine.operand_bits))
    unpruned = lower(trace, (), machine.operand_bits)
    record = machine.run(trace, operations, timeline_heads)
    layers = layer_table(trace, machine, operations, record)
    events = event_table(machine, operations, record, layers)
    table = energy_table(machine.hardware, machine.clock_hz)
    layers = layers.merge(price_layers(events, table), on="layer")
    tables = {
        "layers": layers,
        "units": unit_table(record),
        "traffic": traffic_table(machine, unpruned, record),
        "events": events,
        "energy": price(events, table),
        "area": area_table(machine.hardware),
        "sparsity": sparsity_table(trace, machine.exploits, machine.operand_bits),
        "timeline": record.timeline,
    }
    row = flat_row(trace, machine, operations, record, tables)
    return Result(row, tables, record.responses)
