"""Bench every kernel in a process of its own: a crash, an error that stays with the process, or a
kernel that never ends costs one row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from algos.kernels.apart import Died, run_apart
from algos.kernels.bench import Ceilings, bench, left
from algos.kernels.ceilings import measure_ceilings
from algos.kernels.device import Cuda, Device
from algos.kernels.environment import environment
from algos.kernels.plan import Case, Settings
from algos.kernels.rows import Rows, read_rows

CEILINGS = "ceilings"
"""Key of the row of a run's ceilings."""

Runner = Callable[..., Any]


def bench_apart(
    cases: Sequence[Case],
    store: Rows,
    settings: Settings,
    update: Callable[[int, int], None],
    run: Runner = run_apart,
) -> None:
    """Measure the ceilings, then each case that has no measured row yet.

    Args:
        cases: those of a kernel stand together.
        store: where rows are written.
        settings: how long is measured.
        update: told how many of the cases are done.
        run: runs a function in another process; as `run_apart`.

    Raises:
        InputError: there is no GPU.
    """
    device, target, ceilings = run(ceilings_here, str(store.path), settings)
    todo = left(cases, store.last(), device, target)
    before, start = len(cases) - len(todo), len(read_rows(store.path))

    def watch() -> None:
        update(before + len(read_rows(store.path)) - start, len(cases))

    for _, group in groupby(todo, key=lambda case: case.kernel):
        waiting = [*group]
        while waiting:
            waiting = _some(waiting, store, settings, ceilings, watch, run)
            watch()


def _some(
    cases: list[Case],
    store: Rows,
    settings: Settings,
    ceilings: Ceilings,
    watch: Callable[[], None],
    run: Runner,
) -> list[Case]:
    """Measure cases in one process; return those that have no row yet, fewer than before."""
    start = len(read_rows(store.path))
    reason = "its process ended before it"
    seen, since = start, time.monotonic()

    def watch_rows() -> None:
        nonlocal seen, since
        watch()
        if (now := len(read_rows(store.path))) > seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > settings.patience_seconds:
            raise Died(f"it had no result after {settings.patience_seconds:g} s")

    try:
        run(bench_here, cases, str(store.path), settings, ceilings, watch=watch_rows)
    except Died as error:
        reason = str(error)
    have = {row["key"] for row in read_rows(store.path)[start:]}
    waiting = [case for case in cases if case.key not in have]
    if len(waiting) == len(cases):
        store.append(
            {**asdict(cases[0]), "key": cases[0].key, "status": "failed", "reason": reason}
        )
        return waiting[1:]
    return waiting


def ceilings_here(path: str, settings: Settings) -> tuple[str, str, Ceilings]:
    """Measure the ceilings of the GPU; as `write_ceilings`."""
    return write_ceilings(Cuda(), Rows(Path(path), resume=True), settings)


def write_ceilings(device: Device, store: Rows, settings: Settings) -> tuple[str, str, Ceilings]:
    """Measure the ceilings of a device, write their row; return its name, its target and them."""
    ceilings = measure_ceilings(device, settings)
    where = {**device.facts(), **environment("torch", "triton")}
    store.append({"key": CEILINGS, "status": "measured", **asdict(ceilings), **where})
    return where["device"], device.target, ceilings


def bench_here(cases: list[Case], path: str, settings: Settings, ceilings: Ceilings) -> None:
    """Measure cases in this process."""
    bench(cases, Cuda(), Rows(Path(path), resume=True), settings, ceilings)
