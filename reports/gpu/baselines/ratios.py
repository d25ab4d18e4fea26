"""How many times faster than a GPU: against PyTorch, dense kernels and sparse kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reports.gpu.baselines.rows import DENSE, MEASURED, MODELLED, PUBLISHED, SIMULATED, SPARSE
from sim.gpu.devices import DEVICES

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: dict[str, str] = {
    "workload": "name",
    "machine": "simulated machine",
    "device": "GPU",
    "machine_ns": "latency of the machine",
    "dense_ns": "of dense kernels on the GPU; empty: none",
    "sparse_ns": "of the best sparse kernels on it; empty: none",
    "selection_ns": "of sparse_ns: launches that only select what is kept",
    "gpu_kind": "whether those were measured or modelled",
    "pytorch_ns": "of dense PyTorch on it, as published; empty: none was",
    "times_pytorch": "pytorch_ns over machine_ns",
    "times_dense": "dense_ns over machine_ns",
    "times_sparse": "sparse_ns over machine_ns",
}
"""Columns of ratios.csv."""
PYTORCH = "PyTorch"
"""How names of published systems begin that are dense PyTorch."""
TITLES: Mapping[str, str] = {"titan-xp": "TITAN Xp", "a100": "A100"}
"""Device -> its name in `systems.tsv`."""


def make_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each simulated machine on each GPU; columns as `COLUMNS`."""
    import pandas as pd

    found: list[dict[str, Any]] = []
    for workload, own in rows.groupby("workload", sort=False):
        timed = own[own["latency_ns"].notna()]
        gpus = timed[timed["kind"].isin([MODELLED, MEASURED]) & timed["device"].isin([*DEVICES])]
        for machine in timed[timed["kind"] == SIMULATED].itertuples():
            for device, of_device in gpus.groupby("device", sort=False):
                by_work = of_device.set_index("work")["latency_ns"]
                times = {
                    "dense": by_work.get(DENSE),
                    "sparse": by_work.get(SPARSE),
                    "pytorch": _pytorch(timed, str(device)),
                }
                row = {"workload": workload, "machine": machine.machine, "device": device}
                row |= {"machine_ns": machine.latency_ns, "gpu_kind": of_device["kind"].iloc[0]}
                row |= {f"{name}_ns": ns for name, ns in times.items()}
                row["selection_ns"] = of_device.set_index("work")["selection_ns"].get(SPARSE)
                row |= {f"times_{name}": None if ns is None else ns / machine.latency_ns
                        for name, ns in times.items()}  # fmt: skip
                found.append(row)
    numbers = [name for name in COLUMNS if name.endswith("_ns") or name.startswith("times_")]
    return pd.DataFrame(found, columns=[*COLUMNS]).astype(dict.fromkeys(numbers, float))


def _pytorch(rows: pd.DataFrame, device: str) -> float | None:
    """Return the published latency of dense PyTorch on a device."""
    here = rows[(rows["kind"] == PUBLISHED) & (rows["device"] == TITLES.get(device, ""))]
    here = here[here["machine"].str.startswith(PYTORCH)]
    return float(here["latency_ns"].iloc[0]) if len(here) else None
