"""From a record of what happened to the flat row and long tables of a result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from sim.dram.model import Counters
from sim.energy.account import price_layers
from sim.energy.area import area_mm2
from sim.energy.hardware import ADDRESS_BITS
from sim.energy.tables import Constant
from sim.once import once
from sim.operations import Operations, dense_multiplications, plane_bytes
from sim.result import Columns
from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.machines.base import BareMachine, HeadMachine, Record

IntArray = np.ndarray[Any, np.dtype[np.int64]]

Amount = TypeVar("Amount", int, IntArray)


def layer_columns(
    trace: Trace, machine: HeadMachine, operations: Operations, record: Record
) -> dict[str, Any]:
    """Return the columns of the `layers` table without its energy."""
    ops = operations
    first = np.searchsorted(ops.group, np.arange(int(ops.group[-1]) + 1))
    spent = np.diff(record.schedule.group_end, prepend=0)
    transactions = np.sum([*record.transactions.values()], axis=0)
    layers = np.unique(ops.layer)
    return {
        "layer": layers,
        "cycles": sum_by(layers, ops.layer[first], spent),
        **alive_columns(trace, layers),
        "multiplications": sum_by(layers, ops.layer, record.multiplications),
        "dram_transferred_bytes": sum_by(layers, ops.layer, transactions)
        * machine.memory.transaction_bytes,
    }


def event_columns(
    machine: HeadMachine, operations: Operations, record: Record, layers: Columns
) -> dict[str, Any]:
    """Return the columns of the `events` table: counts of each layer.

    Activations and refreshes are known for the whole run only: activations are shared out by the
    transactions of each layer, refreshes by its cycles.
    """
    counted = sum_by(layers["layer"], operations.layer, np.stack(list(record.counts.values())))
    by_layer: dict[str, IntArray] = dict(zip(record.counts, counted, strict=True))
    cycles, moved = layers["cycles"], layers["dram_transferred_bytes"]
    by_layer["pipeline_register_bit"] = by_layer["multiply"] * machine.hardware.register_bits
    by_layer |= moved_events(machine, moved) | static_events(machine, cycles)
    counters = record.dram.counters
    by_layer["dram_activate"] = share_out(int(counters.activates.sum()), moved)
    by_layer["dram_refresh"] = share_out(int(counters.refreshes.sum()), cycles)
    return long_events(layers["layer"], by_layer)


def moved_events(machine: BareMachine, moved_bytes: Amount) -> dict[str, Amount]:
    """Return the events that bytes cost on their way from the DRAM to the buffers."""
    bits = moved_bytes * 8
    addresses = moved_bytes // machine.memory.transaction_bytes * ADDRESS_BITS
    data = ("dram_read_bit", "dram_io_bit", "data_crossbar_bit", "data_fifo_bit")
    of_data = dict.fromkeys(data, bits)
    return of_data | dict.fromkeys(("address_crossbar_bit", "address_fifo_bit"), addresses)


def static_events(machine: BareMachine, cycles: Amount) -> dict[str, Amount]:
    """Return the events that pass with time, refreshes aside."""
    channels = machine.memory.channels * (not machine.memory.ideal)
    return {
        "dram_background": cycles * channels,
        "sram_leakage": cycles,
        "logic_leakage": cycles,
    }


def long_events(layers: IntArray, by_layer: Mapping[str, IntArray]) -> dict[str, Any]:
    """Return the columns of the `events` table: what happened at least once, in order.

    Args:
        layers: (layers,) ascending.
        by_layer: event -> (layers,) counts.
    """
    events = sorted(by_layer)
    counts = np.stack([by_layer[event] for event in events], axis=1)
    layer, event = np.nonzero(counts > 0)
    return {
        "layer": layers[layer],
        "event": [events[number] for number in event.tolist()],
        "count": counts[layer, event],
    }


def layers_with_energy(
    layers: Columns, events: Columns, table: Mapping[str, Constant]
) -> pd.DataFrame:
    """Return the `layers` table with the energy of each layer."""
    energy = price_layers(pd.DataFrame(dict(events)), table)
    return pd.DataFrame(dict(layers)).merge(energy, on="layer")


def unit_columns(record: Record) -> dict[str, Any]:
    """Return the columns of the `units` table."""
    rows = [
        (unit, state, cycles)
        for unit, states in record.unit_cycles.items()
        for state, cycles in states.items()
    ]
    return by_name(("unit", "state", "cycles"), rows)


def by_name(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return rows as columns."""
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def traffic_columns(machine: HeadMachine, dense: Operations, record: Record) -> dict[str, Any]:
    """Return the columns of the `traffic` table.

    Args:
        machine: the machine.
        dense: the operations without any pruning, at full precision.
        record: what happened.
    """
    unpruned = {
        "Q": int(plane_bytes(dense.queries, dense.head_dim, dense.q_bits).sum()),
        "K": int(plane_bytes(dense.keys, dense.head_dim, dense.k_bits).sum()),
        "V": int(plane_bytes(dense.values, dense.head_dim, dense.v_bits).sum()),
    }
    if record.products is not None:
        unpruned |= record.products.dense_bytes
    transaction_bytes = machine.memory.transaction_bytes
    rows = [
        (
            tensor,
            plane,
            int(useful.sum()),
            int(record.transactions[tensor, plane].sum() * transaction_bytes),
            unpruned[tensor] if plane == "MSB" else 0,
        )
        for (tensor, plane), useful in record.useful_bytes.items()
    ]
    return by_name(TRAFFIC, rows)


TRAFFIC = ("tensor", "plane", "useful_bytes", "transferred_bytes", "dense_bytes")
"""Columns of the `traffic` table."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What the flat row needs beside the trace, the machine and the long tables."""

    cycles: int
    queries: int
    busy_cycles: int  # of the busiest unit
    multiplications: int
    multiplications_dense: int
    counters: Counters
    topk_data: str = "none"
    area_mm2: float | None = None  # None: the machine's area is not known


def flat_row(
    trace: Trace,
    machine: HeadMachine,
    operations: Operations,
    record: Record,
    columns: Mapping[str, Columns],
) -> dict[str, Any]:
    """Return the flat row of a machine that runs heads: see `ROW_COLUMNS`."""
    busy = machine.busy_cycles(operations)
    products = record.products
    totals = Totals(
        cycles=record.schedule.cycles,
        queries=int(operations.queries.sum()),
        busy_cycles=max(int(unit.sum()) for unit in busy.values())
        + (products.busy_cycles if products else 0),
        multiplications=int(record.multiplications.sum()),
        multiplications_dense=dense_multiplications(trace)
        + (products.multiplications_dense if products else 0),
        counters=record.dram.counters,
        topk_data=record.topk_data,
        area_mm2=area_mm2(machine.hardware),
    )
    return make_row(trace, machine, columns, totals)


def make_row(
    trace: Trace, machine: BareMachine, columns: Mapping[str, Columns], totals: Totals
) -> dict[str, Any]:
    """Return the flat row, given the columns of the long tables: see `ROW_COLUMNS`."""
    header = trace.header
    seconds = totals.cycles / machine.clock_hz
    multiplications, counters = totals.multiplications, totals.counters
    traffic = columns["traffic"]
    transferred = sum(traffic["transferred_bytes"])
    energy_pj = float(np.sum(columns["energy"]["energy_pj"]))
    parameters = json.dumps(header.parameters, sort_keys=True)
    config = machine.model_dump_json()
    identity = "\n".join((header.workload, header.method, parameters, machine.name, config))
    return {
        "workload": header.workload,
        "synthetic": header.synthetic,
        "model": header.model.name,
        "method": header.method,
        "parameters": parameters,
        "seed": header.seed,
        "machine": machine.name,
        "config": config,
        "config_hash": hashlib.sha256(identity.encode()).hexdigest()[:12],
        "prunesim_version": header.prunesim_version,
        "sequences": trace.rows("sequences"),
        "queries": totals.queries,
        "clock_hz": machine.clock_hz,
        "cycles": totals.cycles,
        "latency_ns": seconds * 1e9,
        "bound_compute_cycles": totals.busy_cycles,
        "bound_bandwidth_cycles": bandwidth_cycles(machine, transferred),
        "multiplications": multiplications,
        "multiplications_dense": totals.multiplications_dense,
        "throughput_gops": 2 * multiplications / seconds / 1e9,
        "operational_intensity": 2 * multiplications / max(transferred, 1),
        "peak_gops": machine.peak_gops,
        "peak_gb_per_s": machine.peak_bytes_per_cycle * machine.clock_hz / 1e9,
        "dram_useful_bytes": sum(traffic["useful_bytes"]),
        "dram_transferred_bytes": transferred,
        "dram_requests": int(counters.requests.sum()),
        "dram_reads_per_channel": counters.requests.tolist(),
        "dram_row_hits": int(counters.row_hits.sum()),
        "dram_activates": int(counters.activates.sum()),
        "dram_gb_per_s": transferred / seconds / 1e9,
        "energy_pj": energy_pj,
        "power_w": energy_pj * 1e-12 / seconds,
        "area_mm2": totals.area_mm2,
        "topk_data": totals.topk_data,
        "ideal": ", ".join(machine.ideal),
    } | {f"accuracy_{name}": value for name, value in header.accuracy.items()}


def bandwidth_cycles(machine: BareMachine, transferred_bytes: int) -> int:
    """Return the cycles that bytes take with every data pin busy."""
    if machine.memory.ideal:
        return 0
    return int(np.ceil(transferred_bytes / machine.peak_bytes_per_cycle))


def alive_columns(trace: Trace, layers: IntArray) -> dict[str, Any]:
    """Return tokens and heads that enter some layers, mean over inputs and steps.

    A layer without attention has NaN.
    """
    known, columns = _alive(trace)
    found = np.isin(layers, known)
    place = np.searchsorted(known, layers[found])
    if found.all():
        return {name: column[place] for name, column in columns.items()}
    wide = {name: np.full(len(layers), np.nan) for name in columns}
    for name, column in columns.items():
        wide[name][found] = column[place]
    return wide


@once(kept=1)
def _alive(trace: Trace) -> tuple[IntArray, dict[str, Any]]:
    """Return the layers that have attention, and the columns of `alive_columns` for them."""
    names = ["sequence", "step", "layer"]
    rows = pd.DataFrame({name: trace.array("attention", name) for name in names})
    for name in ("alive", "keys", "keys_dense"):
        rows[name] = trace.array("attention", name)
    layers = rows.groupby(names).agg(
        tokens_alive=("keys", "max"),
        tokens_dense=("keys_dense", "max"),
        heads_alive=("alive", "sum"),
    )
    mean = layers.groupby("layer").mean()
    mean["heads_dense"] = trace.header.model.heads
    columns = {str(name): mean[name].to_numpy(copy=True) for name in mean}
    return mean.index.to_numpy().astype(np.int64), columns


def sum_by(layers: IntArray, owner: IntArray, amounts: IntArray) -> IntArray:
    """Return the sums of amounts (..., items) by layer, (..., layers).

    Args:
        layers: (layers,) ascending.
        owner: (items,) layer of each; one of `layers`, and each of them at least once.
        amounts: what is added up.
    """
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], layers)
    total: IntArray = np.add.reduceat(amounts[..., order], starts, axis=-1)
    return total


def share_out(total: int, weights: IntArray) -> IntArray:
    """Split a count by weights into whole numbers that add up to it."""
    edges = np.cumsum(weights)
    shares: IntArray = np.diff(edges * total // max(int(edges[-1]), 1), prepend=0)
    return shares
