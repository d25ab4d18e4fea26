"""Run a trace on a machine: the one call behind every command and sweep."""

from __future__ import annotations

from sim.energy.account import price, price_layers
from sim.energy.area import area_table
from sim.energy.tables import energy_table
from sim.machines.base import BareMachine
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


def simulate(trace: Trace, machine: BareMachine, timeline_heads: int = 0) -> Result:
    """Run every attention head of a trace on a machine.

    Args:
        trace: checked, as `read_trace` and `TraceBuilder.finish` return it.
        machine: from `sim.machines.make_machine`, or a configuration made directly.
        timeline_heads: number of heads, from the first, whose intervals are recorded.

    Raises:
        InputError: a head that the machine cannot hold, named by its row.
    """
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
