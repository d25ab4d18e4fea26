"""Attention measured on a CPU, layer by layer, where each layer of a workload was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reports.gpu.measured import CPU, CPU_COLUMNS, read_measured

if TYPE_CHECKING:
    from workloads.trace import Trace

SHAPES = {"bert-base-384": "bert-base-384", "gpt2-small-1024": "gpt2-small-decode-1024"}
"""Workload -> shape of the CPU's rows, which is one layer of it."""
CLOSE = 0.005
"""of the share left out: counts of tokens are rounded differently"""
_DENSE, _SPARSE = "cpu-dense-attention", "cpu-gathered-tokens"


def cpu_rows(
    workload: str, trace: Trace, rows: list[dict[str, Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the dense and the sparse row of a workload on each CPU that measured its layers.

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
    for cpu in dict.fromkeys(row["cpu"] for row in here):
        own = [row for row in here if row["cpu"] == cpu]
        left_out = _left_out(trace)
        for work, shares in (("dense", [0.0] * len(left_out)), ("sparse", left_out)):
            found = [_nearest(own, share) for share in shares]
            times = [row["median_ns"] for row in found if row is not None]
            if len(times) == len(shares):
                ns = float(sum(times))
                yield {
                    **{"machine": own[0]["label"], "work": work, "device": cpu},
                    **{"latency_ns": ns, "units_per_s": 1e9 / ns},
                    "synthetic": trace.header.synthetic,
                    "note": f"{len(times)} layers, each as measured; {own[0]['threads']} threads; "
                    "energy: absent, not measured"
                    + ("; neither heads nor V rows are left out" if work == "sparse" else ""),
                }


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
