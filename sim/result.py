"""What a simulation answers: one flat row, and long tables that say where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

Columns = Mapping[str, Any]
"""Columns of a table by name, all of one length: arrays, or lists or tuples."""

ROW_COLUMNS: dict[str, str] = {
    "workload": "name of the workload",
    "synthetic": "true: the sparsity was assumed, not measured on a model",
    "model": "model shape",
    "method": "pruning method that made the trace",
    "parameters": "its parameters, JSON",
    "seed": "random seed of the trace",
    "machine": "machine name",
    "config": "resolved machine configuration, JSON",
    "config_hash": "first 12 hex digits of the SHA-256 of method, parameters and config",
    "prunesim_version": "version that made the row",
    "sequences": "inputs in the trace",
    "queries": "queries computed, over heads, layers and steps",
    "clock_hz": "machine clock",
    "cycles": "total cycles, inputs one after another",
    "latency_ns": "cycles over clock",
    "bound_compute_cycles": "busy cycles of the busiest unit: no schedule is faster",
    "bound_bandwidth_cycles": "transferred bytes over peak DRAM bandwidth",
    "multiplications": "multiplications performed, 1 MAC = 1 multiplication = 2 operations",
    "multiplications_dense": "multiplications of the same operations unpruned",
    "throughput_gops": "2 x multiplications / latency, 1e9 operations/s",
    "operational_intensity": "2 x multiplications / transferred DRAM bytes",
    "peak_gops": "2 x multipliers x clock, 1e9 operations/s",
    "peak_gb_per_s": "peak DRAM bandwidth, 1e9 B/s",
    "dram_useful_bytes": "bytes of the rows that were asked for",
    "dram_transferred_bytes": "bytes moved: whole DRAM transactions",
    "dram_requests": "DRAM read transactions",
    "dram_reads_per_channel": "the same by channel; spatten-rtl lists the last channel first",
    "dram_row_hits": "requests that found their row open",
    "dram_activates": "row activations",
    "dram_gb_per_s": "transferred bytes / latency, 1e9 B/s",
    "energy_pj": "total energy",
    "power_w": "energy over latency",
    "area_mm2": "cells and RAM macros of the machine at 40 nm, nothing placed; empty: an FPGA",
    "topk_data": "recorded: selectors saw the trace's scores; drawn: seeded random ranks; none",
    "ideal": "names of idealised parts, comma separated; empty: none",
}
"""Columns of the flat result row. Measured accuracies follow as `accuracy_NAME`."""

TABLE_COLUMNS: dict[str, dict[str, str]] = {
    "layers": {
        "layer": "transformer block",
        "cycles": "cycles from the layer's first to its last activity, summed over inputs",
        "tokens_alive": "tokens entering the layer, mean over inputs",
        "tokens_dense": "tokens without pruning, mean over inputs",
        "heads_alive": "heads computed, mean over inputs",
        "heads_dense": "heads of the model",
        "multiplications": "performed in the layer",
        "dram_transferred_bytes": "moved for the layer",
        "energy_pj": "spent in the layer, dynamic and static",
    },
    "units": {
        "unit": "hardware unit",
        "state": "busy, or why it waits",
        "cycles": "cycles in that state; the states of one unit add up to the run's cycles",
    },
    "traffic": {
        "tensor": "Q, K, V, W (weights), head (the output layer's), X (inputs), new KV (written)",
        "plane": "MSB (fetched first) or LSB (fetched on demand)",
        "useful_bytes": "bytes of the rows that were asked for",
        "transferred_bytes": "bytes moved: whole DRAM transactions",
        "dense_bytes": "useful bytes of the same operations unpruned, at full precision",
    },
    "events": {
        "layer": "transformer block",
        "event": "key of sim.energy.tables",
        "count": "how often it happened",
    },
    "energy": {
        "component": "part of the machine",
        "group": "dram, sram (with FIFOs), logic or static",
        "event": "key of sim.energy.tables",
        "count": "how often it happened",
        "pj_per_event": "energy of one event",
        "energy_pj": "product",
        "source": "where the constant comes from",
        "node_nm": "technology node of the constant",
        "estimate": "true: the constant is an estimate",
    },
    "area": {
        "component": "part of the machine",
        "group": "logic or sram (with FIFOs)",
        "area_mm2": "cells and RAM macros: no placement, clock tree, wires or pads",
        "source": "where the constants come from",
        "node_nm": "technology node",
        "estimate": "true: the constant is an estimate",
    },
    "sparsity": {
        "kind": "token, head, local value, precision, window, weight pattern ...",
        "quantity": "multiplications or DRAM bytes",
        "dense": "amount without any pruning",
        "offered": "amount this kind alone removes according to the trace",
        "exploited": "amount of it that the machine really left out",
    },
    "timeline": {
        "unit": "hardware unit",
        "name": "operation",
        "start_cycle": "first cycle",
        "end_cycle": "cycle after the last",
    },
}
"""Columns of the long tables of a result."""


class Tables(Mapping[str, pd.DataFrame]):
    """Long tables by name. A frame is made when it is first looked at.

    Sweeps look at flat rows only, and making all frames takes as long as running a small trace.
    """

    def __init__(self, parts: Mapping[str, Columns | Callable[[], pd.DataFrame]]) -> None:
        """Take for each table its columns, or what makes it; both must pickle."""
        self._parts = dict(parts)
        self._frames: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._frames:
            part = self._parts[name]
            self._frames[name] = part() if callable(part) else _frame(part)
        return self._frames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _frame(columns: Columns) -> pd.DataFrame:
    if any(len(column) for column in columns.values()):
        return pd.DataFrame(dict(columns))
    return pd.DataFrame([], columns=list(columns))  # of objects; empty lists would be of floats


@dataclass(frozen=True)
class Result:
    """One run of one trace on one machine. See `ROW_COLUMNS` and `TABLE_COLUMNS`."""

    row: dict[str, Any]
    tables: Mapping[str, pd.DataFrame]
    responses: pd.DataFrame | None = None
    """Clock of the response to each row of the workload, in order: columns request,
    response_cycle. None where a machine does not answer row by row."""


def save_results(results: list[Result], folder: Path) -> None:
    """Write `results.parquet` (one row per result) and one Parquet file per long table.

    The long tables carry `method` and `machine` of their row in front.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([result.row for result in results]).to_parquet(folder / "results.parquet")
    for name in TABLE_COLUMNS:
        parts = []
        for result in results:
            part = result.tables[name].copy()
            part.insert(0, "machine", result.row["machine"])
            part.insert(0, "method", result.row["method"])
            parts.append(part)
        pd.concat(parts, ignore_index=True).to_parquet(folder / f"{name}.parquet")
