"""`prunesim baselines`: the tables, the figures and the page."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import words
from reports.console import Phases
from reports.experiments.picture import Plan
from reports.gpu.baselines import figures, story, tables
from reports.gpu.baselines.cpu import CPU_LABEL
from reports.gpu.baselines.ratios import COLUMNS as RATIO_COLUMNS
from reports.gpu.baselines.ratios import make_ratios
from reports.gpu.baselines.rows import COLUMNS, MEASURED, Bench, Deviation, make_rows
from reports.gpu.baselines.timing import LAUNCHED
from reports.gpu.baselines.workloads import ACCLLM, FAMILIES, SPATTEN, WORKLOADS, Workload
from reports.gpu.break_even import Curve
from reports.gpu.measured import GPU, measured_rows
from workloads.config import unknown_name
from workloads.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

DEVICES = ("a100", "h100", "h200", "titan-xp")
FIGURES = ("ratios", "latency-spatten", "latency-accllm", "context", "break-even", "cost-model")
"""Names of figures, in the order of the page."""
MACHINES = ("spatten", "spatten-e2e", "a3", "mnnfast", "dense", "accllm-u280", "flightllm-u280")
"""Whose fidelity the page shows."""


@dataclass(frozen=True)
class Baselines:
    """What was found."""

    rows: pd.DataFrame
    ratios: pd.DataFrame
    devices: tuple[str, ...]
    published: pd.DataFrame
    """kernels measured by others beside the cost model"""
    model: Mapping[str, Any]
    """how far the model is from those that set none of its curves"""
    curves: tuple[Curve, ...]
    """of break-even, on the device that the curves are asked for"""

    @property
    def headline(self) -> str:
        """The title of the page."""
        return story.headline(self.ratios)

    @property
    def sentences(self) -> list[str]:
        """What the rows say."""
        told = story.sentences(self.ratios, [*self.devices])
        return [*told, story.gain_of_sparsity(self.rows)]


def find(
    devices: Sequence[str], phase: Phases, workloads: Sequence[Workload] = WORKLOADS
) -> Baselines:
    """Simulate, model and read everything that the page shows.

    Raises:
        InputError: no device, or an unknown one, with the nearest.
    """
    from reports.gpu.break_even_command import run_break_even
    from reports.gpu.modelled import DEVICE
    from reports.gpu.published import published_table, summary
    from sim.gpu.devices import make_device

    if not devices:
        raise InputError("device must be given at least once, it is empty")
    names = tuple(dict.fromkeys(make_device(name).name for name in devices))
    with phase("compare the cost model with published kernels"):
        published = published_table()
        model = summary(published)
    deviation = Deviation(model["median_deviation"], model["ninth_decile_deviation"])
    with phase(f"run {len(workloads)} workloads") as update:
        done: list[str] = []

        def progress(title: str) -> None:
            update(len(done), len(workloads))
            done.append(title)

        rows = make_rows(Bench(names, deviation, workloads=workloads), progress)
    with phase("find where sparsity breaks even"):
        curves = run_break_even((), DEVICE if DEVICE in names else names[0], None)
    return Baselines(rows, make_ratios(rows), names, published, model, tuple(curves))


def plans(found: Baselines) -> list[Plan]:
    """Return the figures, in the order of `FIGURES`."""
    from reports.gpu.break_even_figure import draw_break_even
    from reports.gpu.published_figure import draw_published

    kernels = _longest_of_each(found.curves)
    never = sum(curve.break_even is None for curve in found.curves)
    labelled = (
        "Bars: blue is simulated; striped is modelled, never measured; dotted is published; "
        "other plain ones are measured."
    )
    drawn: dict[str, tuple[str, str, str, Callable[[], Any]]] = {
        "ratios": (
            "How many times a GPU, against three opponents",
            found.headline + ".",
            "Square: dense PyTorch as a paper published it. Circle: dense kernels. Diamond: the "
            "best kernels of the same sparsity. Kernels are modelled, in a CUDA graph.",
            partial(figures.draw_ratios, found.ratios),
        ),
        "latency-spatten": (
            f"Latency by machine: {FAMILIES[SPATTEN]}",
            story.fastest(found.rows, SPATTEN),
            labelled,
            partial(figures.draw_latency, found.rows, SPATTEN),
        ),
        "latency-accllm": (
            f"Latency by machine: {FAMILIES[ACCLLM]}",
            story.fastest(found.rows, ACCLLM),
            f"{labelled} The context of published rates is not stated; they stand at the shortest.",
            partial(figures.draw_latency, found.rows, ACCLLM),
        ),
        "context": (
            "Llama-2-7B: tokens a second over context",
            story.over_context(found.rows),
            "Dashed: dense kernels in half precision. Solid: 2:4 sparse 2-bit weights and a "
            "window. Squares: simulated machines.",
            partial(figures.draw_context, found.rows),
        ),
        "break-even": (
            "Where sparsity begins to pay",
            f"{len(found.curves) - never} of {len(found.curves)} kernels at the papers' shapes "
            "become faster than their dense control before 95 % is left out.",
            f"The longest shape of each kernel; {found.curves[0].source}. The table has all. "
            "Kernels of quantised operands read fewer bits than the control before anything is "
            "left out.",
            partial(draw_break_even, kernels),
        ),
        "cost-model": (
            "The cost model over published measurements",
            f"On {found.model['check_rows']} measurements that set none of its curves the median "
            f"deviation is {words.percent(found.model['median_deviation'])}, and nine of ten are "
            f"under {words.percent(found.model['ninth_decile_deviation'])}.",
            "Hollow marks set a curve; full ones judge the model.",
            partial(draw_published, found.published),
        ),
    }
    return [Plan(name, *drawn[name]) for name in FIGURES]


def _longest_of_each(curves: Sequence[Curve]) -> list[Curve]:
    """Return the curve of each kernel whose control takes longest."""
    longest: dict[str, Curve] = {}
    for curve in curves:
        if curve.control_ns > longest.setdefault(curve.kernel, curve).control_ns:
            longest[curve.kernel] = curve
    return [*longest.values()]


def check_figure(name: str) -> None:
    """Raise InputError for a name that is no figure, with the nearest."""
    if name not in FIGURES:
        raise InputError(unknown_name("figure", name, dict.fromkeys(FIGURES)))


def write_tables(found: Baselines, out: Path) -> None:
    """Write `rows.csv`, `ratios.csv` and `break_even.csv` into a folder."""
    import pandas as pd

    from reports.gpu.break_even import told

    found.rows.to_csv(out / "rows.csv", index=False, lineterminator="\n")
    found.ratios.to_csv(out / "ratios.csv", index=False, lineterminator="\n")
    kept = ("kernel", "shape", "control", "source", "sparsity", "control_ns", "break_even_share")
    curves = [{name: told(curve)[name] for name in kept} for curve in found.curves]
    pd.DataFrame(curves).to_csv(out / "break_even.csv", index=False, lineterminator="\n")


def render(found: Baselines, pictures: Sequence[Any], command: str, seconds: float) -> str:
    """Fill the page."""
    from reports.html import fill
    from sim.machines import MACHINES as KNOWN

    rows = found.rows
    kinds = rows["kind"].value_counts()
    sections = [
        (
            title,
            [
                (workload.title, workload.assumed, tables.rows_table(own, workload.assumed))
                for workload in WORKLOADS
                if workload.family == family
                for own in [rows[rows["workload"] == workload.name]]
            ],
        )
        for family, title in FAMILIES.items()
    ]
    return fill(
        "baselines.html.j2",
        headline=found.headline,
        sentences=found.sentences,
        counts=[(kind, int(count)) for kind, count in kinds.items()],
        measured=_measured(rows),
        model=found.model,
        deviation=words.percent(found.model["median_deviation"]),
        ninth=words.percent(found.model["ninth_decile_deviation"]),
        launched=LAUNCHED,
        pictures=pictures,
        sections=sections,
        others=tables.other_table(rows[~rows["workload"].isin([w.name for w in WORKLOADS])]),
        ratios=tables.ratios_table(found.ratios),
        break_even=tables.break_even_table(found.curves),
        promises=tables.promises_table(),
        devices=tables.devices_table(found.devices),
        fidelity=[(name, KNOWN[name]().fidelity) for name in MACHINES],
        glossary=[("rows.csv", COLUMNS), ("ratios.csv", RATIO_COLUMNS)],
        facts=_facts(),
        version=version("prunesim"),
        command=command,
        seconds=f"{seconds:.0f} s",
    )


def _measured(rows: pd.DataFrame) -> str:
    """Say what was measured, or that nothing was."""
    own = rows[rows["kind"] == MEASURED]
    labels = list(dict.fromkeys(own["machine"]))
    gpus = [label for label in labels if not label.startswith(CPU_LABEL)]
    single = list(dict.fromkeys(str(row["label"]) for row in measured_rows(GPU)))
    later = (
        "measured times take the place of modelled ones where every kernel of a workload has one"
    )
    if gpus:
        said = f"all kernels of a workload, on {words.join(gpus)}"
    elif single:
        said = f"single kernels, {words.join(single)}, but not all of any workload; {later}"
    else:
        said = f"no GPU was at hand, no row of a GPU is measured by this project; {later}"
    cpus = list(dict.fromkeys(own.loc[own["machine"].str.startswith(CPU_LABEL), "device"]))
    if cpus:
        said += f"; CPUs: {words.join([str(cpu) for cpu in cpus])}"
    return said + ("" if cpus else "; no CPU was measured on these workloads") + "."


def _facts() -> list[tuple[str, str]]:
    import json

    from reports.gpu.record import RECORD

    recorded = json.loads(RECORD.read_text("utf-8"))["tools"] if RECORD.is_file() else {}
    facts = [("prunesim", version("prunesim")), ("Python", platform.python_version())]
    facts += [(name, version(name)) for name in ("numpy", "numba", "pandas", "matplotlib")]
    facts += [(f"{name} of the record", str(found)) for name, found in recorded.items()]
    return [
        *facts,
        ("published systems", "reports/data/gpu/systems.tsv"),
        ("published kernels", "reports/data/gpu/published.tsv"),
        ("compiled kernels", "reports/data/gpu/kernels.json"),
        ("measured rows", "reports/data/gpu, reports/data/cpu"),
        ("devices", "sim/gpu/devices.py"),
    ]
