"""`prunesim simulate --machine modelled:DEVICE`: a trace as kernels of a GPU, dense and sparse."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from algos.kernels import KERNELS
from reports import words
from reports.catalog import open_trace
from reports.console import print_json, print_line, print_table
from reports.gpu.baselines.items import trace_items
from reports.gpu.baselines.timing import Timed, Timer, target_of
from reports.gpu.lower import lower
from reports.gpu.published import published_table, summary
from reports.gpu.record import compile_missing
from reports.job import Outputs
from reports.summary import TextTable
from sim.gpu.devices import make_device
from workloads.errors import InputError
from workloads.trace import Trace

PREFIX = "modelled:"
_COLUMNS = ("kernels", "latency", "DRAM bytes", "launches", "selecting", "which")


@dataclass(frozen=True)
class TraceTimes:
    """A trace on a GPU."""

    workload: str
    method: str
    synthetic: bool
    dense: Timed
    """nothing pruned, half precision"""
    sparse: Timed
    """what the trace leaves out is left out"""

    @property
    def speedup(self) -> float | None:
        """Dense over sparse time; None: one of them is not known."""
        if self.dense.ns is None or self.sparse.ns is None:
            return None
        return self.dense.ns / self.sparse.ns


def check_options(settings: Sequence[str], wanted: Outputs) -> None:
    """Raise InputError for options that only accelerators have."""
    given = [f"--set {setting}" for setting in settings]
    given += [f"--{name if name != 'folder' else 'out'}" for name, path in
              wanted._asdict().items() if path is not None]  # fmt: skip
    if given:
        raise InputError(f"{given[0]} must be left out for a modelled GPU, which has no such thing")


def run_times(path: Path, machine: str, iteration: int | None, visible: bool) -> TraceTimes:
    """Predict the time of a trace on a GPU; programs that are not recorded are compiled.

    Args:
        path: a trace folder, or a SpAtten workload CSV.
        machine: "modelled:" and the name of a device.
        iteration: of a CSV, only this one.
        visible: show progress.

    Raises:
        InputError: an unknown device, or no such trace.
    """
    device = make_device(machine.removeprefix(PREFIX))
    trace = open_trace(path, iteration)
    items = trace_items(trace, trace.header.workload, KERNELS, [target_of(device)])
    compile_missing(items, os.cpu_count() or 1, visible)
    return time_trace(trace, device.name)


def time_trace(trace: Trace, device: str) -> TraceTimes:
    """Return the times of a trace on a device, by kernels whose resources are known."""
    timer, header = Timer(device), trace.header
    dense, sparse = (timer.time(lower(trace, sparse=sparse)) for sparse in (False, True))
    return TraceTimes(header.workload, header.method, header.synthetic, dense, sparse)


def show_times(found: TraceTimes, *, as_json: bool) -> None:
    """Print the two times, the kernels, and how far to believe them."""
    model = summary(published_table())
    if as_json:
        print_json({**asdict(found), "speedup": found.speedup, "cost_model": model})
        return
    synthetic = ", synthetic" if found.synthetic else ""
    print_line(f"{found.workload}, {found.method}{synthetic}, on {found.dense.label}")
    rows = [_row("dense", found.dense), _row("sparse", found.sparse)]
    print_table(TextTable(list(_COLUMNS), rows, [False, True, True, True, True, False]))
    if found.speedup is not None:
        print_line(f"the sparsity makes it {words.times(found.speedup)} as fast")
    for note in dict.fromkeys((*found.dense.notes, *found.sparse.notes)):
        print_line(f"note: {note}")
    print_line(
        f"modelled, never measured: off by {model['median_deviation']:.0%} in the median of "
        f"{model['check_rows']} published measurements, nine of ten by less than "
        f"{model['ninth_decile_deviation']:.0%}"
    )


def _row(name: str, timed: Timed) -> list[str]:
    kernels = ", ".join(f"{kernel} x{times}" for kernel, times in timed.kernels.items())
    if timed.ns is None or timed.dram_bytes is None:
        return [name, "-", "-", "-", "-", kernels or "-"]
    return [
        name,
        words.duration(timed.ns),
        words.size(timed.dram_bytes),
        f"{timed.launches:,}",
        words.duration(timed.selection_ns) if timed.selection_ns else "-",
        kernels,
    ]
