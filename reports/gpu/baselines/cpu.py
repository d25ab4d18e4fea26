"""Attention measured on a CPU, layer by layer, where each layer of a workload was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reports import words
from reports.gpu.measured import CPU, CPU_COLUMNS, read_measured

if TYPE_CHECKING:
    from workloads.trace import Trace

SHAPES = {"bert-base-384": "bert-base-384", "gpt2-small-1024": "gpt2-small-decode-1024"}
"""Workload -> shape of the CPU's rows, which is one layer of it."""
CPU_LABEL = "measured:cpu"
CLOSE = 0.005
"""of the share left out: counts of tokens are rounded differently"""
_DENSE, _SPARSE = "cpu-dense-attention", "cpu-gathered-tokens"


def cpu_rows(
    workload: str, trace: Trace, rows: list[dict[str, Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the dense and the sparse row of a workload on each CPU that measured its layers.

    The same CPU with other threads counts as another.

    Tokens left out are gathered; heads that are left out and local value pruning are not exploited.

    Args:
        workload: name.
        trace: of it.
        rows: measured on CPUs; None: those of this installation.
    """
    if workload not in SHAPES:
        return
    known = _rows() if rows is None else rows
    here = [row for row in known if row["shape"] == SHAPES[workload]]
    hosts = dict.fromkeys((row["cpu"], int(row["threads"])) for row in here)
    for cpu, threads in hosts:
        own = [row for row in here if (row["cpu"], int(row["threads"])) == (cpu, threads)]
        left_out = _left_out(trace)
        for work, shares in (("dense", [0.0] * len(left_out)), ("sparse", left_out)):
            layers = [_nearest(own, share) for share in shares]
            found = [row for row in layers if row is not None]
            if len(found) == len(shares):
                ns = _sum(found, "median_ns")
                yield {
                    **{"machine": own[0]["label"], "work": work},
                    "device": f"{cpu}, {threads} thread{'s' if threads > 1 else ''}",
                    **{"latency_ns": ns, "units_per_s": 1e9 / ns},
                    "synthetic": trace.header.synthetic,
                    "note": "; ".join(_notes(found, work)),
                }


def _notes(found: list[dict[str, Any]], work: str) -> Iterator[str]:
    """Yield what is to be known of a sum of layers: its spread, which may be wide."""
    low, high = (words.duration(_sum(found, name)) for name in ("p10_ns", "p90_ns"))
    spread = f"10th to 90th percentile {low} to {high}"
    yield f"{len(found)} layers, each as measured; medians added, {spread}"
    yield from dict.fromkeys(str(row["note"]) for row in found if row["note"])
    if work == "sparse":
        yield "neither heads nor V rows are left out"
    yield "energy: absent, not measured"


def _sum(rows: list[dict[str, Any]], name: str) -> float:
    return float(sum(row[name] for row in rows))


def _rows() -> list[dict[str, Any]]:
    frame = read_measured(CPU, CPU_COLUMNS)
    plain = frame.astype(object).where(frame.notna(), None)
    return [row for row in plain.to_dict("records") if row["status"] == "measured"]


def _left_out(trace: Trace) -> list[float]:
    """Return the share of keys that each layer leaves out."""
    names = ["sequence", "step", "layer", "keys", "keys_dense"]
    table = trace.tables["attention"].select(names).to_pandas()
    layers = table.groupby(names[:3]).max()
    return [float(share) for share in 1 - layers["keys"] / layers["keys_dense"]]


def _nearest(rows: list[dict[str, Any]], share: float) -> dict[str, Any] | None:
    """Return the row of about that share; None: there is none."""
    kernel = _SPARSE if share > CLOSE else _DENSE
    near = [row for row in rows
            if row["kernel"] == kernel and abs(row["sparsity"] - share) <= CLOSE]  # fmt: skip
    return min(near, key=lambda row: abs(row["sparsity"] - share), default=None)
