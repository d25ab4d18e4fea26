"""What the rows say, in sentences; every number in them comes from the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import words
from reports.gpu.baselines.rows import DENSE, MODELLED, SPARSE
from reports.gpu.baselines.workloads import WORKLOADS

if TYPE_CHECKING:
    import pandas as pd

STUDIED = ("spatten", "spatten-e2e", "accllm-u280")
"""Machines that sentences are about, beside the GPUs."""
_TITLES = {workload.name: workload.title for workload in WORKLOADS}


def headline(ratios: pd.DataFrame) -> str:
    """Return the sentence of the page's title: the published ratio that shrinks most."""
    known = _studied(ratios).dropna(subset=["times_pytorch", "times_dense"])
    if known.empty:
        return "Accelerators beside GPUs: no published GPU time has a modelled one beside it"
    lost = known["times_pytorch"] / known[["times_dense", "times_sparse"]].min(axis=1)
    row = known.loc[lost.idxmax()]
    return (
        f"{row['machine']} is {_times(row['times_pytorch'])} as fast as PyTorch on "
        f"{_device(row)}, {_times(row['times_dense'])} as fast as good dense kernels there"
        + ("" if _lacks(row["times_sparse"]) else f" and {_times(row['times_sparse'])} as fast as "
           "kernels that exploit the same sparsity")
    )  # fmt: skip


def sentences(ratios: pd.DataFrame, devices: list[str]) -> list[str]:
    """Return a sentence for each workload, about the GPU that a paper compares with, else the
    first one, and one about all of them."""
    found = []
    studied = _studied(ratios)
    for workload, rows in studied.groupby("workload", sort=False):
        published = rows[rows["times_pytorch"].notna()]
        row = (published if len(published) else rows).iloc[0]
        found.append(_of_workload(_TITLES[str(workload)], row))
    return [*found, *_of_all(studied, devices)]


def _of_workload(title: str, row: pd.Series) -> str:
    gpu = f"{_device(row)} ({row['gpu_kind']})"
    parts = [f"{title}: {row['machine']} takes {words.duration(row['machine_ns'])}"]
    if not _lacks(row["times_pytorch"]):
        parts.append(f"against PyTorch as published that is {_times(row['times_pytorch'])} the "
                     f"speed of {_device(row)}")  # fmt: skip
    if not _lacks(row["times_dense"]):
        parts.append(f"against dense kernels on {gpu} {_times(row['times_dense'])}")
    if not _lacks(row["times_sparse"]):
        turn = "" if _lacks(row["times_dense"]) else _turn(row["times_dense"], row["times_sparse"])
        parts.append(f"against sparse kernels there {_times(row['times_sparse'])}{turn}")
    else:
        parts.append("sparse kernels there: not timed, see the row")
    return ", ".join(parts[:2]) + "".join(f"; {part}" for part in parts[2:]) + "."


def _turn(dense: float, sparse: float) -> str:
    if sparse < 0.95 * dense:
        return ": the ratio shrinks"
    if sparse > 1.05 * dense:
        return ": on that GPU the sparsity costs more than it saves"
    return ": the sparsity changes little there"


def _of_all(ratios: pd.DataFrame, devices: list[str]) -> list[str]:
    both = ratios.dropna(subset=["times_dense", "times_sparse"])
    if both.empty:
        return []
    fewer = both["times_sparse"] < 0.95 * both["times_dense"]
    more = both["times_sparse"] > 1.05 * both["times_dense"]
    found = [
        f"In {int(fewer.sum())} of {len(both)} pairs of workload and GPU the ratio shrinks when the "
        f"GPU exploits the same sparsity, by {_span(both[fewer])}; in {int(more.sum())} it grows, "
        "for what is left out takes less time than the launches that select it."
    ]
    best = both[["dense_ns", "sparse_ns"]].min(axis=1)
    ahead = best < both["machine_ns"]
    found.append(
        f"With the faster of both, the GPU is ahead of the machine in {int(ahead.sum())} of "
        f"{len(both)} pairs ({words.join(devices)}); energy is not compared: no board was measured."
    )
    return found


def _span(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "nothing"
    gain = rows["times_dense"] / rows["times_sparse"]
    return f"{words.times(gain.min())} to {words.times(gain.max())}"


def gain_of_sparsity(rows: pd.DataFrame) -> str:
    """Say on which GPU and workload sparse kernels gain most over dense ones, and least."""
    sparse = rows[(rows["work"] == SPARSE) & (rows["kind"] == MODELLED)]
    gains = sparse["times_faster_than_dense"].dropna()
    if gains.empty:
        return f"No workload has both {DENSE} and {SPARSE} kernels."
    best, worst = sparse.loc[gains.idxmax()], sparse.loc[gains.idxmin()]

    def told(row: pd.Series) -> str:
        return f"{words.times(row['times_faster_than_dense'])} on {row['device']} at " + str(
            row["workload"]
        )

    return f"Sparse over dense kernels of the same GPU: from {told(worst)} to {told(best)}."


def _studied(ratios: pd.DataFrame) -> pd.DataFrame:
    return ratios[ratios["machine"].isin(STUDIED)]


def _device(row: pd.Series) -> str:
    from sim.gpu.devices import make_device

    title = make_device(row["device"]).title
    return f"an {title}" if title[0] in "AH" else f"a {title}"


def _times(ratio: float) -> str:
    return words.times(ratio)


def _lacks(value: float | None) -> bool:
    return value is None or value != value
