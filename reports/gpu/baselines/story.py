"""What the rows say, in sentences; every number in them comes from the rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from reports import words
from reports.gpu.baselines.ratios import TITLES
from reports.gpu.baselines.rows import DENSE, MODELLED, SPARSE
from reports.gpu.baselines.workloads import CONTEXTS, WORKLOADS

if TYPE_CHECKING:
    import pandas as pd

STUDIED = ("spatten", "spatten-e2e", "accllm-u280")
"""Machines that sentences are about, beside the GPUs."""
_BETWEEN = [f"llama-2-7b-{context}" for context in CONTEXTS[1:-1]]
_TITLES = {workload.name: workload.title for workload in WORKLOADS}


def headline(ratios: pd.DataFrame) -> str:
    """Return the sentence of the page's title: the published ratio that shrinks most."""
    known = _studied(ratios).dropna(subset=["times_pytorch", "times_dense"])
    if known.empty:
        return "Accelerators beside GPUs: no published GPU time has a modelled one beside it"
    lost = known["times_pytorch"] / known[["times_dense", "times_sparse"]].min(axis=1)
    row = known.loc[lost.idxmax()]
    text = (
        f"{row['machine']} is {_speed(row['times_pytorch'])} than PyTorch on {_device(row)}, but "
        f"{_speed(row['times_dense'])} than dense kernels on it"
    )
    if _lacks(row["times_sparse"]):
        return text
    return f"{text} and {_speed(row['times_sparse'])} than kernels of the same sparsity"


def sentences(ratios: pd.DataFrame, devices: list[str]) -> list[str]:
    """Return a sentence for each workload, about the GPU that a paper compares with, else the
    first one, and one about all of them. Of workloads over context the ends stand for all.
    """
    found = []
    studied = _studied(ratios)
    for workload, rows in studied.groupby("workload", sort=False):
        if workload in _BETWEEN:
            continue
        published = rows[rows["times_pytorch"].notna()]
        row = (published if len(published) else rows).iloc[0]
        found.append(_of_workload(_TITLES[str(workload)], row))
    return [*found, *_of_all(studied, devices)]


def _of_workload(title: str, row: pd.Series) -> str:
    there = f"{_device(row)} ({row['gpu_kind']})"
    parts = []
    if not _lacks(row["times_pytorch"]):
        parts.append(f"{_speed(row['times_pytorch'])} than PyTorch on {_device(row)} (published)")
    if not _lacks(row["times_dense"]):
        parts.append(f"{_speed(row['times_dense'])} than dense kernels on {there}")
    if _lacks(row["times_sparse"]):
        parts.append(f"sparse kernels are not timed on {there}")
    else:
        turn = "" if _lacks(row["times_dense"]) else _turn(row["times_dense"], row["times_sparse"])
        parts.append(f"{_speed(row['times_sparse'])} than sparse kernels there{turn}")
    took = f"{title}: {row['machine']} takes {words.duration(row['machine_ns'])}"
    return ", ".join([took, *parts]) + "."


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
    alone = (both["sparse_ns"] - both["selection_ns"])[more] > 1.05 * both["dense_ns"][more]
    selecting, others = int((~alone).sum()), int(alone.sum())
    found = [
        f"In {int(fewer.sum())} of {len(both)} pairs of workload and GPU the ratio shrinks when "
        f"the GPU exploits the same sparsity, by {_span(both[fewer])}. In {int(more.sum())} it "
        "grows: at one sentence or token at a time the sparse kernels take longer than the dense "
        f"ones, in {selecting} of them for the launches that select what is kept and add up its "
        f"importance, in {others} even without these."
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

    title = TITLES.get(row["device"], make_device(row["device"]).title)
    return f"an {title}" if title[0] in "AH" else f"a {title}"


def _speed(ratio: float) -> str:
    if abs(ratio - 1) < 0.005:
        return "no faster"
    return f"{words.times(ratio)} faster" if ratio > 1 else f"{words.times(1 / ratio)} slower"


def _lacks(value: float | None) -> bool:
    return value is None or math.isnan(value)


def fastest(rows: pd.DataFrame, family: str) -> str:
    """Say which machine is the fastest on each workload of a family."""
    parts = []
    for workload in WORKLOADS:
        own = rows[(rows["workload"] == workload.name) & rows["latency_ns"].notna()]
        if workload.family == family and len(own):
            row = own.loc[own["latency_ns"].idxmin()]
            work = f", {row['work']}" if row["work"] in (DENSE, SPARSE) else ""
            parts.append(
                f"{workload.title}: {row['machine']}{work} ({row['kind']}), "
                f"{words.duration(row['latency_ns'])}"
            )
    return "Fastest. " + words.sentence(parts) if parts else "No machine has a latency."


def over_context(rows: pd.DataFrame) -> str:
    """Say what the longest context costs in tokens a second, by machine."""
    contexts = {w.name: w.context for w in WORKLOADS if w.name.startswith("llama")}
    own = rows[rows["workload"].isin([*contexts]) & (rows["kind"] != "published")]
    own = own[own["latency_ns"].notna()].assign(context=own["workload"].map(contexts))
    parts = []
    for (machine, work), line in own.groupby(["machine", "work"], sort=False):
        first, last = line.iloc[0], line.iloc[-1]
        if first["context"] < last["context"]:
            name = machine if work not in (DENSE, SPARSE) else f"{machine} {work}"
            parts.append(
                f"{name} {words.number(first['units_per_s'])} to "
                f"{words.number(last['units_per_s'])} tokens/s at {last['context']:,} keys"
            )
    start = f"From {min(contexts.values()):,} keys on: "
    return start + "; ".join(parts) + "." if parts else "No machine has two contexts."
