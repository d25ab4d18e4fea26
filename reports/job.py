"""The jobs behind the commands: model, traces, machines, run folder. Printing is elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from reports import run_folder
from reports.catalog import describe_machine, describe_method, make_machine, make_method, open_trace
from reports.console import Phases
from reports.errors import Interrupted
from reports.run_data import BASELINE, CONTROL, PLAIN_MACHINE, RunData, read_run
from reports.settings import shared, split_settings
from reports.simulations import Simulations
from sim.result import Result, save_results
from workloads.errors import InputError

if TYPE_CHECKING:
    from algos.base import Method
    from sim.machines.base import BareMachine
    from workloads.trace import Trace

TIMELINE_HEADS = 24  # heads in timeline.json: two layers of a small model


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the user asked for, as the command line gave it."""

    workload: str
    method: str
    machine: str | None  # None: only a trace is wanted
    settings: list[str]
    out: Path
    sentences: Path | None
    limit: int | None
    seed: int
    report: bool


class Outcome(NamedTuple):
    """What a run left behind."""

    folder: Path
    report: Path | None
    data: RunData
    results: list[Result]


class Prepared(NamedTuple):
    """Everything that is checked before anything slow starts."""

    source: Any  # reports.source.Source
    methods: list[Method]  # the controls first, the studied one last
    machines: list[BareMachine]  # the studied one first


def prepare(job: Job) -> Prepared:
    """Turn names and settings into configurations.

    Raises:
        InputError: an unknown name or setting, an impossible value, or a method that does not run
            on the workload.
    """
    from reports.source import check_claim, make_source

    source = make_source(job)
    method = make_method(job.method)
    check_claim(method, job.workload)
    machine = make_machine(job.machine) if job.machine is not None else None
    settings = split_settings(job.settings, method, machine)
    method = method.override(settings.method)
    machines = []
    if machine is not None:
        machines.append(machine.override(settings.machine))
        if machine.name != PLAIN_MACHINE:
            control = make_machine(PLAIN_MACHINE)
            machines.append(control.override(shared(settings.machine, control)))
    return Prepared(source, [*_controls(method), method], machines)


def _controls(method: Method) -> list[Method]:
    """Return the unpruned trace and, for a method with a budget, random pruning within it."""
    if method.name == BASELINE:
        return []
    controls = [make_method(BASELINE)]
    if method.name != CONTROL:
        control = make_method(CONTROL)
        budget = {
            name: getattr(method, name)
            for name in type(control).model_fields
            if name in type(method).model_fields
        }
        if budget:
            controls.append(control.override(budget))
    return controls


@dataclass
class _Run:
    """A run under way: what is done so far is kept whatever happens next."""

    job: Job
    prepared: Prepared
    phases: Phases
    simulations: Simulations
    traces: dict[str, str] = field(default_factory=dict)  # method -> path in the run folder

    def write(self, status: str) -> None:
        """Write all results so far, and run.json."""
        results = self.simulations.results
        if results:
            from reports.chrome_trace import write_chrome_trace

            save_results(results, self.job.out)
            write_chrome_trace(
                [r for r in results if len(r.tables["timeline"])],
                self.job.out / "timeline.json",
            )
        run_folder.write_info(self.job.out, self.info(status))

    def info(self, status: str) -> dict[str, Any]:
        methods, machines = self.prepared.methods, self.prepared.machines
        return _basics(status, self.phases) | {
            "workload": self.job.workload,
            "method": methods[-1].name,
            "machine": machines[0].name,
            "settings": self.job.settings,
            "seed": self.job.seed,
            "traces": self.traces,
            "methods": {method.name: describe_method(method) for method in methods},
            "machines": {machine.name: describe_machine(machine) for machine in machines},
        }

    @contextmanager
    def kept_if_stopped(self) -> Iterator[None]:
        """Keep what is done when the user stops the run or a step of it fails."""
        try:
            yield
        except BaseException as error:
            self.write("stopped")
            if not isinstance(error, KeyboardInterrupt):
                raise
            kept = f"{len(self.traces)} traces and {len(self.simulations.results)} results"
            raise Interrupted(f"stopped; {kept} are kept in {self.job.out}") from None


def _basics(status: str, phases: Phases) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "prunesim": version("prunesim"),
        "status": status,
        "command": ["prunesim", *sys.argv[1:]],
        "platform": run_folder.describe_platform(),
        "versions": run_folder.package_versions(),
        "phases_s": phases.seconds | {"total": phases.total_seconds},
        "peak_memory_bytes": run_folder.peak_memory_bytes(),
    }


def run_job(job: Job, *, visible: bool) -> Outcome:
    """Do the main job: traces, simulations, report.

    Raises:
        InputError: a user's mistake; what was done before it was met is kept.
        Interrupted: the user stopped it.
    """
    prepared = prepare(job)
    run_folder.claim(job.out)
    with Phases(visible) as phase:
        with Simulations(phase) as simulations:
            run = _Run(job, prepared, phase, simulations)
            with run.kept_if_stopped():
                run.write("running")
                _make_traces(run)
                simulations.finish()
                run.write("finished")
        report = None
        if job.report:
            from reports.html import write_report

            with phase("draw the report"):
                report = write_report(job.out)
        run_folder.write_info(job.out, run.info("finished"))
    return Outcome(job.out, report, read_run(job.out), simulations.results)


def _make_traces(run: _Run) -> None:
    """Make the trace of every method; write each as soon as it is there, and queue its runs."""
    from workloads.trace import write_trace

    source, machines = run.prepared.source, run.prepared.machines
    source.load(run.phases)
    for method in run.prepared.methods:
        with run.phases(f"trace {method.name}") as update:
            trace = source.trace(method, update)
            path = Path("traces") / f"{method.name}.trace"
            write_trace(trace, run.job.out / path)
        run.traces[method.name] = str(path)
        run.simulations.add(trace, machines[0], TIMELINE_HEADS)
        # random pruning beside another method is a control of that method, not of the machine
        if method.name != CONTROL or method is run.prepared.methods[-1]:
            for machine in machines[1:]:
                run.simulations.add(trace, machine, 0)


def run_trace(job: Job, *, visible: bool) -> Trace:
    """Make one trace and write it.

    Raises:
        InputError: a user's mistake; nothing is written then.
    """
    from workloads.trace import write_trace

    prepared = prepare(job)
    if job.out.exists() and not (job.out / "trace.json").is_file():
        raise InputError(f"{job.out} must be a trace folder or not exist, it holds other things")
    with Phases(visible) as phase:
        prepared.source.load(phase)
        method = prepared.methods[-1]
        with phase(f"trace {method.name}") as update:
            trace: Trace = prepared.source.trace(method, update)
            write_trace(trace, job.out)
    return trace


class Outputs(NamedTuple):
    """Where a single simulation writes; None: not wanted."""

    folder: Path | None = None
    timeline: Path | None = None
    rows: Path | None = None


def run_simulation(
    path: Path,
    machine_name: str,
    settings: list[str],
    iteration: int | None,
    wanted: Outputs,
    *,
    visible: bool,
) -> Result:
    """Run one trace on one machine; write results, report, timeline and rows where wanted.

    Raises:
        InputError: a user's mistake.
    """
    from sim.run import simulate

    machine = make_machine(machine_name)
    machine = machine.override(split_settings(settings, None, machine).machine)
    for name, file in (("timeline", wanted.timeline), ("rows", wanted.rows)):
        if file is not None and not file.parent.is_dir():
            raise InputError(f"{name} {file} must be in a folder that exists")
    if wanted.rows is not None and not machine.answers_rows:
        raise InputError(
            f"rows must be left out on {machine.name}, only spatten-rtl answers row by row"
        )
    if wanted.folder is not None:
        run_folder.claim(wanted.folder)
    with Phases(visible) as phase:
        with phase("read the trace"):
            trace = open_trace(path, iteration)
        with phase(f"simulate on {machine.name}"):
            drawn = wanted.timeline is not None or wanted.folder is not None
            result = simulate(trace, machine, TIMELINE_HEADS if drawn else 0)
        _write_single(result, machine, wanted, phase)
    return result


def _write_single(result: Result, machine: BareMachine, wanted: Outputs, phase: Phases) -> None:
    from reports.chrome_trace import write_chrome_trace

    if wanted.timeline is not None:
        write_chrome_trace([result], wanted.timeline)
    if wanted.rows is not None and result.responses is not None:
        result.responses.to_csv(wanted.rows, index=False)
    out = wanted.folder
    if out is None:
        return
    save_results([result], out)
    write_chrome_trace([result], out / "timeline.json")
    about = {
        "workload": result.row["workload"],
        "method": result.row["method"],
        "machine": machine.name,
        "machines": {machine.name: describe_machine(machine)},
    }
    run_folder.write_info(out, _basics("finished", phase) | about)
    with phase("draw the report"):
        from reports.html import write_report

        write_report(out)
