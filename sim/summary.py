"""From a record of what happened to the flat row and long tables of a result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sim.dram.model import Counters
from sim.energy.hardware import ADDRESS_BITS
from sim.operations import Operations, dense_multiplications, plane_bytes
from workloads.trace import Trace

if TYPE_CHECKING:
    from sim.machines.base import BareMachine, HeadMachine, Record

IntArray = np.ndarray[Any, np.dtype[np.int64]]


def layer_table(trace: Trace, machine: HeadMachine, operations: Operations, record: Record) -> Any:
    """Return the `layers` table without its energy."""
    ops = operations
    first = np.searchsorted(ops.group, np.arange(int(ops.group[-1]) + 1))
    spent = np.diff(record.schedule.group_end, prepend=0)
    transferred = sum(record.transactions.values()) * machine.memory.transaction_bytes
    work = pd.DataFrame(
        {
            "layer": ops.layer,
            "multiplications": record.multiplications,
            "dram_transferred_bytes": transferred,
        }
    )
    layers = work.groupby("layer").sum()
    layers.insert(0, "cycles", pd.Series(spent).groupby(ops.layer[first]).sum())
    alive = alive_table(trace)
    for position, name in enumerate(alive.columns):
        layers.insert(1 + position, name, alive[name])
    return layers.reset_index()


def event_table(
    machine: HeadMachine, operations: Operations, record: Record, layers: pd.DataFrame
) -> pd.DataFrame:
    """Return the `events` table: counts of each layer.

    Activations and refreshes are known for the whole run only: activations are shared out by the
    transactions of each layer, refreshes by its cycles.
    """
    counts = pd.DataFrame(record.counts)
    by_layer = counts.groupby(operations.layer).sum()
    by_layer.index.name = "layer"
    of_layer = layers.set_index("layer")
    cycles, moved = of_layer["cycles"], of_layer["dram_transferred_bytes"]
    by_layer["pipeline_register_bit"] = by_layer["multiply"] * machine.hardware.register_bits
    addresses = moved // machine.memory.transaction_bytes * ADDRESS_BITS
    for event in ("dram_read_bit", "dram_io_bit", "data_crossbar_bit", "data_fifo_bit"):
        by_layer[event] = moved * 8
    for event in ("address_crossbar_bit", "address_fifo_bit"):
        by_layer[event] = addresses
    counters = record.dram.counters
    by_layer["dram_activate"] = share_out(int(counters.activates.sum()), moved)
    by_layer["dram_refresh"] = share_out(int(counters.refreshes.sum()), cycles)
    by_layer["dram_background"] = cycles * machine.memory.channels * (not machine.memory.ideal)
    by_layer["sram_leakage"] = by_layer["logic_leakage"] = cycles
    events = by_layer.reset_index().melt("layer", var_name="event", value_name="count")
    return events[events["count"] > 0].sort_values(["layer", "event"], ignore_index=True)


def unit_table(record: Record) -> pd.DataFrame:
    """Return the `units` table."""
    rows = [
        (unit, state, cycles)
        for unit, states in record.unit_cycles.items()
        for state, cycles in states.items()
    ]
    return pd.DataFrame(rows, columns=["unit", "state", "cycles"])


def traffic_table(machine: HeadMachine, dense: Operations, record: Record) -> pd.DataFrame:
    """Return the `traffic` table.

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
    rows = [
        {
            "tensor": tensor,
            "plane": plane,
            "useful_bytes": int(useful.sum()),
            "transferred_bytes": int(
                record.transactions[tensor, plane].sum() * machine.memory.transaction_bytes
            ),
            "dense_bytes": unpruned[tensor] if plane == "MSB" else 0,
        }
        for (tensor, plane), useful in record.useful_bytes.items()
    ]
    return pd.DataFrame(rows)


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
    tables: dict[str, pd.DataFrame],
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
        area_mm2=float(tables["area"]["area_mm2"].sum()),
    )
    return make_row(trace, machine, tables, totals)


def make_row(
    trace: Trace, machine: BareMachine, tables: dict[str, pd.DataFrame], totals: Totals
) -> dict[str, Any]:
    """Return the flat row: see `ROW_COLUMNS`."""
    header = trace.header
    seconds = totals.cycles / machine.clock_hz
    multiplications, counters = totals.multiplications, totals.counters
    traffic = tables["traffic"]
    transferred = int(traffic["transferred_bytes"].sum())
    energy_pj = float(tables["energy"]["energy_pj"].sum())
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
        "bound_bandwidth_cycles": (
            0 if machine.memory.ideal else int(np.ceil(transferred / machine.peak_bytes_per_cycle))
        ),
        "multiplications": multiplications,
        "multiplications_dense": totals.multiplications_dense,
        "throughput_gops": 2 * multiplications / seconds / 1e9,
        "operational_intensity": 2 * multiplications / max(transferred, 1),
        "peak_gops": machine.peak_gops,
        "peak_gb_per_s": machine.peak_bytes_per_cycle * machine.clock_hz / 1e9,
        "dram_useful_bytes": int(traffic["useful_bytes"].sum()),
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


def alive_table(trace: Trace) -> pd.DataFrame:
    """Tokens and heads that enter each layer, mean over inputs and steps."""
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
    return mean


def share_out(total: int, weights: pd.Series) -> pd.Series:
    """Split a count by weights into whole numbers that add up to it."""
    cumulative = weights.cumsum()
    if not total or not cumulative.iloc[-1]:
        return weights * 0
    edges = (cumulative * total) // cumulative.iloc[-1]
    shares: pd.Series = edges.diff().fillna(edges.iloc[0]).astype("int64")
    return shares
