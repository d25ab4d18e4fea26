"""`prunesim bench gpu`: what would run, what ran, and what there is to say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from algos.kernels import make_kernel
from algos.kernels.bench_apart import CEILINGS, bench_apart
from algos.kernels.plan import FULL, OWN, QUICK, describe, plan
from algos.kernels.rows import Row, Rows, read_rows
from reports import words
from reports.console import Phases, print_json, print_line, print_table
from reports.errors import Interrupted
from reports.gpu.break_even import curves, told
from reports.gpu.modelled import DEVICE, modelled_ns
from reports.summary import TextTable
from workloads.errors import InputError

FILE = "gpu.jsonl"
_TARGET = "sm_90"  # of a plan made without a GPU


def planned(names: list[str], quick: bool) -> list[dict[str, Any]]:
    """Return what would run, case by case, without a GPU.

    Raises:
        InputError: an unknown kernel.
    """
    settings = QUICK if quick else FULL
    found = []
    for case in plan(names, settings):
        kernel, shape = case.make()
        found.append(
            {
                **{"kernel": case.kernel, "shape": case.shape, "size": case.size},
                **{"share": case.share, "implementation": case.implementation},
                **{
                    "control": case.control,
                    "control_size": case.control_size,
                    "beside": case.beside,
                },
                **describe(case, _TARGET),
                "windows": settings.windows if case.share is None else settings.sweep_windows,
                "window_ns": settings.window_ns,
                "modelled_device": DEVICE,
                "modelled_ns": None if case.beside else modelled_ns(kernel, shape),
            }
        )
    return found


def show_plan(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print a line for each case of a paper's shape, and one for each sparsity curve."""
    if as_json:
        print_json(rows)
        return
    names = ["kernel", "shape", "by", "programs", "bytes", "flops", "windows", "control"]
    lines = []
    for row in (row for row in rows if row["share"] is None):
        line = [*_head(row), "; ".join(row["programs"]) or "-", words.size(row["dram_bytes"])]
        line += [words.si(row["flops"], "flop"), _windows(row), row["control"] or "-"]
        lines.append([*line, _modelled(row["modelled_ns"])])
    sweeps: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in (row for row in rows if row["share"] is not None):
        sweeps.setdefault((row["kernel"], row["shape"]), []).append(row)
    for (name, label), points in sweeps.items():
        shares = f"{label}, {len(points)} shares to {points[-1]['share']:g}"
        known = [row["modelled_ns"] for row in points if row["modelled_ns"] is not None]
        span = f"{_modelled(max(known))} to {_modelled(min(known))}" if known else "-"
        line = [name, shares, OWN, make_kernel(name).sparsity, "-", "-", _windows(points[0])]
        lines.append([*line, points[0]["control"], span])
    columns = [*names, f"modelled:{DEVICE}"]
    numeric = [name in ("bytes", "flops", columns[-1]) for name in columns]
    print_table(TextTable(columns, lines, numeric))
    print_line(f"{len(rows)} rows; each kernel is first compared with its naive twin")


def run_bench(names: list[str], out: Path, *, quick: bool, resume: bool, visible: bool) -> Path:
    """Measure on the GPU and return the file of rows.

    Raises:
        InputError: an unknown kernel, no GPU, or rows that are there without `resume`.
        Interrupted: stopped; the rows so far are kept.
    """
    settings = QUICK if quick else FULL
    cases = plan(names, settings)
    _check_gpu()
    store = Rows(out / FILE, resume=resume)
    try:
        with Phases(visible) as phase, phase(f"measure {len(cases)} cases") as update:
            bench_apart(cases, store, settings, update)
    except KeyboardInterrupt:
        kept = len(read_rows(store.path))
        raise Interrupted(f"stopped; {kept} rows are in {store.path}, --resume goes on") from None
    return store.path


def show_rows(path: Path, *, as_json: bool) -> None:
    """Print the rows of a bench, what was not measured and why, and where sparsity breaks even."""
    rows = {row["key"]: row for row in read_rows(path)}
    ceilings = rows.pop(CEILINGS, None)
    found = curves([*rows.values()])
    if as_json:
        print_json(
            {
                "rows": [*rows.values()],
                "ceilings": ceilings,
                "break_even": [told(one) for one in found],
            }
        )
        return
    print_table(table([row for row in rows.values() if row["share"] is None]))
    for row in (row for row in rows.values() if row["status"] != "measured"):
        print_line(f"{row['kernel']} at {row['shape']}: {row['status']}, {row['reason']}")
    for one in found:
        print_line(one.sentence)
    if found:
        from reports.figures.style import save
        from reports.gpu.break_even_figure import draw_break_even

        save(draw_break_even(found), path.with_name("break_even.svg"))
        print_line(f"figure: {path.with_name('break_even.svg')}")
    print_line(f"rows: {path}")


def table(rows: list[Row]) -> TextTable:
    """Return a line for each row of a paper's shape."""
    columns = ["kernel", "shape", "by", "median", "p10 to p90", "of copy", "of matmul", "energy"]
    numeric = [False] * 3 + [True] * 5
    return TextTable(columns, [[*_head(row), *_measured(row)] for row in rows], numeric)


def _measured(row: Row) -> list[str]:
    if row["status"] != "measured":
        return [row["status"], "-", "-", "-", "-"]
    spread = f"{words.duration(row['p10_ns'])} to {words.duration(row['p90_ns'])}"
    return [
        words.duration(row["median_ns"]),
        spread,
        words.percent(row["copy_share"]) if row["copy_share"] else "-",
        words.percent(row["matmul_share"]) if row["matmul_share"] else "-",
        words.energy(row["energy_pj"]) if row["energy_pj"] else "-",
    ]


def _head(row: Row) -> list[str]:
    return [row["kernel"], row["shape"], row["implementation"]]


def _windows(row: dict[str, Any]) -> str:
    return f"{row['windows']} of {words.duration(row['window_ns'])}"


def _modelled(time_ns: float | None) -> str:
    return "-" if time_ns is None else words.duration(time_ns)


def _check_gpu() -> None:
    """Raise InputError, before anything is started, where torch sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            "bench gpu must have an NVIDIA GPU that torch can use, there is none: "
            "--dry-run lists what would run"
        )
