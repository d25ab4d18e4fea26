"""From the options of `prunesim sweep` to a finished sweep and its report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.console import Phases, print_json, print_line
from reports.errors import Interrupted
from sim.sweep.space import Space
from workloads.errors import InputError

if TYPE_CHECKING:
    from sim.sweep.engine import Engine
    from sim.sweep.sweep import Outcome

SHOWN_SECONDS = 0.1  # between two updates of the progress on a terminal
MADE = "made"  # under this name the store keeps where the points were run


def run_sweep(
    space: Space,
    out: Path,
    *,
    jobs: int | None = None,
    dask: str | None = None,
    resume: bool = False,
    retry_failed: bool = False,
    visible: bool = True,
) -> Outcome:
    """Run a sweep over real models; see `sim.sweep.Sweep`.

    Args:
        space: what is varied.
        out: folder of the store and the traces.
        jobs: processes; none: one a core.
        dask: address of a scheduler to use instead.
        resume, retry_failed: as in `Sweep.run`.
        visible: show progress on a terminal.

    Raises:
        InputError: a user's mistake; what was finished is kept.
        Interrupted: the user stopped it; what was finished is kept.
    """
    from reports.sweeping.traces import ModelTraces
    from sim.sweep.sweep import Sweep

    sweep = Sweep(space, ModelTraces(), out)
    with Phases(visible) as phases, _Progress(phases) as progress:
        try:
            done = sweep.run(
                _engine(out, jobs, dask),
                resume=resume,
                retry_failed=retry_failed,
                progress=progress.update,
            )
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped; {progress.done} points are kept in {out}, --resume goes on"
            ) from None
    if done.ran:
        from sim.sweep.store import Store

        with Store(out) as store:
            store.note(MADE, _made(jobs, dask))
    return done


def _made(jobs: int | None, dask: str | None) -> dict[str, Any]:
    """Return where the points were run last, for the report."""
    from reports.run_folder import cores, describe_platform, package_versions

    workers = f"workers of {dask}" if dask else f"{jobs or cores()} processes"
    return {"run by": workers, **describe_platform(), **package_versions()}


def command(
    file: Path,
    out: Path,
    *,
    jobs: int | None,
    dask: str | None,
    resume: bool,
    retry_failed: bool,
    large: bool,
    report: bool,
    as_json: bool,
) -> None:
    """Run a sweep file, draw its report, and say what was found.

    Raises:
        InputError: a user's mistake, or every point failed.
        Interrupted: the user stopped it.
    """
    space = Space.read(file)
    space.check_size(large=large)
    done = run_sweep(
        space,
        out,
        jobs=jobs,
        dask=dask,
        resume=resume,
        retry_failed=retry_failed,
        visible=not as_json,
    )
    page = None
    if report and done.counts.get("done"):
        from reports.sweeping.page import write_report

        with Phases(not as_json) as phase, phase("draw the report"):
            page = write_report(out)
    if as_json:
        print_json(
            {"folder": str(out), "report": page and str(page), "ran": done.ran, **_counts(done)}
        )
    else:
        for line in told(done, page):
            print_line(line)
    if not done.counts.get("done"):
        raise InputError(f"a sweep must have a point that runs, none did: {_first_reason(out)}")


def told(done: Outcome, page: Path | None) -> list[str]:
    """Say how a sweep ended."""
    counts = _counts(done)
    total = sum(counts.values())
    line = f"{total:,} points: {counts['done']:,} done"
    for status, word in (("failed", "failed"), ("pruned", "left out by their bounds")):
        if counts[status]:
            line += f", {counts[status]:,} {word}"
    if done.ran < total:
        line += f"; {done.ran:,} of them run now"
    where = f"folder: {done.folder}"
    return [line, f"report: {page}   {where}" if page else where]


def _counts(done: Outcome) -> dict[str, int]:
    return {status: done.counts.get(status, 0) for status in ("done", "failed", "pruned")}


def _first_reason(out: Path) -> str:
    from sim.sweep.store import Store

    with Store(out, reading=True) as store:
        return next((p.reason for p in store.points() if p.reason), "no reason is kept")


def _engine(out: Path, jobs: int | None, dask: str | None) -> Engine:
    if dask is None:
        from reports.run_folder import cores
        from sim.sweep.engine import Processes

        return Processes(jobs or cores())
    if jobs is not None:
        raise InputError("jobs must be left out with --dask, the scheduler's workers do the work")
    from sim.sweep.cluster import Dask
    from sim.sweep.sweep import make_folder

    make_folder(out)
    return Dask(dask, out)


class _Progress:
    """Shows traces, then points, as two phases."""

    def __init__(self, phases: Phases) -> None:
        self.done = 0  # points
        self._phases = phases
        self._open: Any = None
        self._name = ""
        self._show: Any = None
        self._shown = 0.0  # when

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def update(self, what: str, done: int, of: int) -> None:
        if what != self._name:
            self._close()
            self._open, self._name = self._phases(what), what
            self._show = self._open.__enter__()
        if what == "points":
            self.done = done
        now = time.monotonic()
        if done == of or now - self._shown >= SHOWN_SECONDS:
            self._show(done, of)
            self._shown = now

    def _close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None
