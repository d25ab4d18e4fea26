"""The page's tables as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from algos.kernels import KERNELS, make_kernel
from reports import words
from reports.gpu.baselines.cpu import CPU_LABEL
from reports.gpu.baselines.rows import MEASURED, MODELLED, NO_ENERGY
from reports.gpu.record import read_record
from reports.summary import TextTable

if TYPE_CHECKING:
    import pandas as pd

    from reports.gpu.break_even import Curve

_DASH = "-"


def rows_table(rows: pd.DataFrame, assumed: str = "") -> TextTable:
    """Return a line for each machine on one workload, fastest first; those without a time last.

    Args:
        rows: of one workload.
        assumed: what stands above the table, and is not said again in each line.
    """
    columns = ["machine", "kind", "latency", "energy", "power", "DRAM", "against dense",
               "against sparse", "kernels, and what is to be known"]  # fmt: skip
    ordered = rows.sort_values("latency_ns", kind="stable")
    lines = [_row(row, assumed) for row in ordered.to_dict("records")]
    numeric = [False, False, *[True] * 6, False]
    emphasis = [bool(kind == "simulated") for kind in ordered["kind"]]
    return TextTable(columns, lines, numeric, emphasis)


def _row(row: dict[str, Any], assumed: str) -> list[str]:
    machine = str(row["machine"])
    if row["kind"] in (MODELLED, MEASURED):
        machine += f", {row['work']}"
        if machine.startswith(CPU_LABEL):
            machine += f" ({row['device']})"
    elif row["kind"] == "published":
        machine += f" ({row['device']})"
    kind = str(row["kind"])
    if row["kind"] == MODELLED:
        median, ninth = row["model_median_deviation"], row["model_ninth_decile_deviation"]
        deviation = f"({words.percent(median)}, {words.percent(ninth)})"
        kind += " " + deviation.replace(" ", "\N{NO-BREAK SPACE}")
    if _known(row["basis"]):
        kind += f": {row['basis']}"
    said = [row["kernels"], _own(row["note"], assumed), row["source"]]
    return [
        *(machine, kind, _of(row["latency_ns"], words.duration)),
        *(_of(row["energy_pj"], words.energy), _of(row["power_w"], _watts)),
        _of(row["dram_bytes"], words.size),
        _of(row["times_faster_than_dense"], words.times),
        _of(row["times_faster_than_sparse"], words.times),
        ". ".join(str(text) for text in said if _known(text) and text),
    ]


def _own(note: Any, assumed: str) -> str:
    """Return what a note says beyond what the page says of all lines."""
    above = {*NO_ENERGY.split("; "), *assumed.split("; ")}
    parts = str(note).split("; ") if _known(note) else []
    return "; ".join(part for part in parts if part not in above)


def other_table(rows: pd.DataFrame) -> TextTable:
    """Return a line for each published number over several workloads."""
    lines = [
        [
            *(row["machine"], row["device"], row["workload"], row["quantity"]),
            *(f"{words.number(row['value'])} {row['unit']}", row["basis"]),
            f"{row['note']}. {row['source']}",
        ]
        for row in rows.to_dict("records")
    ]
    columns = ["system", "device", "over", "quantity", "published", "basis", "note and source"]
    return TextTable(columns, lines, [*[False] * 4, True, False, False])


def ratios_table(ratios: pd.DataFrame) -> TextTable:
    """Return a line for each machine on each GPU."""
    columns = ["workload", "machine", "GPU", "PyTorch, published", "dense kernels",
               "sparse kernels"]  # fmt: skip
    lines = [
        [
            *(row["workload"], row["machine"], f"{row['gpu_kind']}:{row['device']}"),
            *(_of(row[f"times_{name}"], words.times) for name in ("pytorch", "dense", "sparse")),
        ]
        for row in ratios.to_dict("records")
    ]
    return TextTable(columns, lines, [False] * 3 + [True] * 3)


def break_even_table(curves: Sequence[Curve]) -> TextTable:
    """Return a line for each curve: from which share on the kernel is faster."""
    lines = [
        [
            *(curve.kernel, curve.shape, curve.source, curve.control),
            words.duration(curve.control_ns),
            "never" if curve.break_even is None else words.percent(curve.break_even),
            curve.sparsity,
        ]
        for curve in curves
    ]
    columns = ["kernel", "shape", "times", "control", "control's time", "faster from",
               "share of what"]  # fmt: skip
    return TextTable(columns, lines, [False] * 4 + [True] * 2 + [False])


def promises_table() -> TextTable:
    """Return a line for each recorded function of a paper's shape: its resources and promise."""
    lines = []
    for row in read_record():
        if row["kernel"] not in KERNELS:
            continue
        kernel = make_kernel(row["kernel"])
        promise = kernel.promises.get(row["function"])
        if row["shape"] not in kernel.papers or promise is None:
            continue
        wanted = promise.instructions.get(row["target"], ())
        kept = (
            row["blocks_per_sm"] >= promise.blocks_per_sm
            and not row["spilled_bytes"]
            and {*wanted} <= {*row["instructions"]}
        )
        lines.append(
            [
                *(row["kernel"], row["shape"], row["function"], row["target"]),
                *(str(row[name]) for name in ("registers", "spilled_bytes", "shared_bytes")),
                f"{row['blocks_per_sm']} of {promise.blocks_per_sm}",
                " ".join(wanted) or _DASH,
                "kept" if kept else "broken",
            ]
        )
    columns = ["kernel", "shape", "function", "target", "registers", "spilled B", "shared B",
               "blocks/SM of promised", "promised instructions", ""]  # fmt: skip
    return TextTable(columns, lines, [False] * 4 + [True] * 4 + [False] * 2)


def devices_table(names: Sequence[str]) -> TextTable:
    """Return a line for each modelled GPU: what bounds it, sources, estimates."""
    from sim.gpu.devices import make_device

    lines = []
    for name in names:
        device = make_device(name)
        estimates = "; ".join(device.estimates) or "none"
        lines.append(
            [
                *(name, device.title, str(device.sms), f"{device.clock_hz / 1e9:.3f}"),
                *(
                    f"{device.dram_gbps:,.0f}",
                    f"{device.launch_ns:,.0f}",
                    f"{device.graph_ns:,.0f}",
                ),
                f"{'; '.join(device.sources)}. Estimates: {estimates}.",
            ]
        )
    columns = ["device", "", "SMs", "GHz", "DRAM GB/s", "ns a launch", "in a graph", "sources"]
    return TextTable(columns, lines, [False, False, *[True] * 5, False])


def _watts(value: float) -> str:
    return f"{words.number(value)} W"


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _of(value: Any, say: Any) -> str:
    return str(say(float(value))) if _known(value) else _DASH
