"""Rows that were measured, as a frame: of GPUs in `reports/data/gpu`, of CPUs in `data/cpu`.

Where nothing was measured the frame is empty and has its columns all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from algos.kernels.bench_apart import CEILINGS
from algos.kernels.rows import read_rows
from workloads.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(__file__).parents[1] / "data"
GPU, CPU = DATA / "gpu", DATA / "cpu"

_TIMES = {
    "key": "what makes a case the same one",
    "label": "measured:DEVICE",
    "status": "measured; refused: results were wrong on the device; failed: could not be run",
    "reason": "of what was not measured",
    "kernel": "name in the list of kernels",
    "shape": "of a paper, in words",
    "size": "the shape itself, as JSON",
    "implementation": "prunesim, or the library whose kernel it is",
    "median_ns": "of one call, over windows",
    "p10_ns": "10th percentile over windows",
    "p90_ns": "90th percentile over windows",
    "windows": "timed windows, each of many calls",
    "flops": "2 a multiply-add: what the shape needs, not what tiles add, nor what is left out",
    "dram_bytes": "every operand read once, every result written once",
    "bytes_per_s": "dram_bytes over the median",
    "flops_per_s": "flops over the median",
    "python": "version",
    "prunesim": "version",
    "torch": "version",
    "commit": "of the code; -changed: with changes that are in no commit",
    "date": "UTC",
}
GPU_COLUMNS: Mapping[str, str] = {
    **_TIMES,
    "share": "of work left out, on a sparsity curve; empty: as in the paper",
    "control": "name of the dense kernel that it must beat",
    "beside": "whether it is a library's kernel beside the one named",
    "control_size": "shape of the control for the same work unpruned, as JSON",
    "unit": "pipe whose ceiling flops are compared with",
    "programs": "launched functions and their grids",
    "sha256": "of the programs' sources and constants, shortened",
    "operand_bytes": "memory of operands and results",
    "replays": "rounds of all copies in a window",
    "timing": "graph: replays of a CUDA graph; events: launches one by one, at the host's pace",
    "timing_note": "why it is not a graph",
    "copies": "of the operands, used in turn",
    "rotated_bytes": "what a round of all copies moves",
    "cold": "whether that is at least twice the L2 cache",
    "l2_bytes": "size of the L2 cache",
    "error": "the largest relative error against the naive twin on this device",
    "copy_share": "bytes_per_s over that of a large copy in the same run",
    "matmul_share": "flops_per_s over that of torch's large product in the same run",
    "ceiling_bytes_per_s": "of the copy",
    "ceiling_flops_per_s": "of the product",
    "power_w": "of the board, median over a loop; empty: the device does not tell",
    "energy_pj": "power over the median time: the whole board, idle power included",
    "power_limit_w": "of the board",
    "sm_clock_mhz": "median over the loop",
    "memory_clock_mhz": "median over the loop",
    "device": "name that the driver gives",
    "driver": "version",
    "cuda": "version that torch was built for",
    "triton": "version",
}
CPU_COLUMNS: Mapping[str, str] = {
    **_TIMES,
    "sparsity": "share of weights or of keys left out",
    "tokens": "columns of the product, or queries",
    "threads": "of torch and of numba",
    "calls": "in a window",
    "copies": "of the operands, used in turn: together twice the largest cache, 64 at most",
    "error": "the largest relative error against float64",
    "speedup": "median of the faster dense control over this median; empty: it is one",
    "cpu": "model name in /proc/cpuinfo",
    "cache_bytes": "of the largest cache that one core sees",
    "vector_bits": "of the widest registers in the machine code of the kernel",
    "numba": "version",
    "note": "what else is to be known of the run",
}


def read_measured(folder: Path = GPU, columns: Mapping[str, str] = GPU_COLUMNS) -> pd.DataFrame:
    """Return the last row of each case of each file, with exactly these columns.

    Rows of ceilings are left out: every other row carries its own.

    Raises:
        InputError: a file that holds no such rows.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.jsonl")) + sorted(folder.glob("*.parquet")):
        last = {row["key"]: row for row in _read(path)}
        last.pop(CEILINGS, None)
        for row in last.values():
            missing = {"key", "status", "kernel"} - set(row)
            if missing:
                raise InputError(f"{path} must have rows with {', '.join(sorted(missing))}")
            rows.append({name: row.get(name) for name in columns})
    return pd.DataFrame(rows, columns=[*columns])


def measured_rows(folder: Path = GPU) -> list[dict[str, Any]]:
    """Return measured rows of GPUs as plain values; None for what is empty."""
    frame = read_measured(folder)
    plain = frame.astype(object).where(frame.notna(), None)
    return [row for row in plain.to_dict("records") if row["status"] == "measured"]


def _read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return read_rows(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise InputError(f"{path} must be a complete Parquet file: {error}") from error
    if any("key" not in row for row in rows[:1]):
        raise InputError(f"{path} must have rows with key")
    return rows
