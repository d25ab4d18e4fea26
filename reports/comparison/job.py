"""Run all points of a comparison on the cores at hand; each is kept as soon as it is there."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.comparison.points import BUDGET, Point, Setting, check_budgets, run_point
from reports.console import Phases
from reports.errors import Interrupted
from workloads.config import unknown_name
from workloads.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from algos.base import Method

TABLE = "compare.csv"
DENSE = "dense"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the user asked for."""

    family: str
    setting: Setting
    budgets: list[float]
    methods: list[str]  # only these; empty: all of the family
    jobs: int
    out: Path


def points(job: Comparison) -> list[Point]:
    """Return what is to be run: the unpruned model first, then every method at every budget.

    Raises:
        InputError: an unknown family, workload, machine or method, or a budget that is none.
    """
    from algos import METHODS
    from reports.catalog import make_machine
    from workloads.tasks import WORKLOADS

    check_budgets(job.budgets)
    make_machine(job.setting.machine)
    if job.setting.workload not in WORKLOADS:
        raise InputError(unknown_name("workload", job.setting.workload, WORKLOADS))
    kind = WORKLOADS[job.setting.workload].kind
    families = dict.fromkeys(m.family for m in METHODS.values() if m.family != "control")
    if job.family not in families:
        raise InputError(unknown_name("family", job.family, families))
    for name in job.methods:
        if name not in METHODS:
            raise InputError(unknown_name("method", name, METHODS))
    found = [Point(method=DENSE, budget=None)]
    for name, method in METHODS.items():
        wanted = name in job.methods if job.methods else method.family == job.family
        if name == DENSE or not wanted or kind not in method.workloads:
            continue
        budgets: list[float] | list[None] = [None]
        if BUDGET in method.model_fields:
            budgets = job.budgets
        found += [Point(method=name, budget=budget) for budget in budgets]
    if len(found) == 1:
        raise InputError(
            f"family {job.family} must have a method for {job.setting.workload}, "
            f"none runs on {kind}"
        )
    return found


def compare(job: Comparison, *, visible: bool) -> pd.DataFrame:
    """Run a comparison; its table is written anew after every point.

    Raises:
        InputError: see `points`, or the unpruned model cannot run.
        Interrupted: the user stopped it; what was done is kept.
    """
    import pandas as pd

    wanted = points(job)
    job.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with Phases(visible) as phase, phase("compare") as update:
        try:
            for row in _rows(job, wanted):
                rows.append(row)
                table = _ordered(pd.DataFrame(rows), wanted)
                _write(table, job.out / TABLE)
                update(len(rows), len(wanted))
        except KeyboardInterrupt:
            kept = f"{len(rows)} of {len(wanted)} points"
            raise Interrupted(f"stopped; {kept} are kept in {job.out}") from None
    return table


def _rows(job: Comparison, wanted: list[Point]) -> Iterator[dict[str, Any]]:
    if job.jobs == 1:
        _load(job.setting)
        yield from (_run(point) for point in wanted)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(job.jobs, context, initializer=_start, initargs=(job.setting,))
    try:
        futures = [pool.submit(_run, point) for point in wanted]
        for future in as_completed(futures):
            yield future.result()
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_shared: dict[str, Any] = {}  # of a worker: source and machine


def _start(setting: Setting) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who stops this process
    _load(setting)


def _load(setting: Setting) -> None:
    from reports.catalog import make_machine
    from reports.source import make_source

    source = make_source(_Request(**asdict(setting)))
    with Phases(visible=False) as phases:
        source.load(phases)
    _shared.update(source=source, machine=make_machine(setting.machine))


@dataclass(frozen=True, kw_only=True)
class _Request(Setting):
    """What a source asks of a job."""

    sentences: Path | None = None


def _run(point: Point) -> dict[str, Any]:
    """Return the row of a point; a method that refuses says why."""
    from reports.catalog import make_method

    started = time.perf_counter()
    found: dict[str, Any] = {"refused": None}
    try:
        method: Method = make_method(point.method)
        if point.budget is not None:
            method = method.override({BUDGET: point.budget})
        found |= run_point(_shared["source"], method, _shared["machine"])
    except InputError as error:
        if point.method == DENSE:
            raise
        found["refused"] = str(error)
    return asdict(point) | found | {"seconds": round(time.perf_counter() - started, 2)}


def _ordered(table: pd.DataFrame, wanted: list[Point]) -> pd.DataFrame:
    order = {(point.method, point.budget): place for place, point in enumerate(wanted)}
    budgets = [None if isnan(value) else value for value in table["budget"].astype(float)]
    places = [order[key] for key in zip(table["method"], budgets, strict=True)]
    return table.iloc[sorted(range(len(places)), key=places.__getitem__)].reset_index(drop=True)


def _write(table: pd.DataFrame, path: Path) -> None:
    unfinished = path.with_suffix(".partial")
    table.to_csv(unfinished, index=False)
    unfinished.replace(path)
