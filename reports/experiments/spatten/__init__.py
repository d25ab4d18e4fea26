"""SpAtten, HPCA 2021: the paper's figures that a simulation can give, beside ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reports.experiments.claim import Claim
from reports.experiments.lab import Lab
from reports.experiments.spatten.comparison import comparison, end_to_end
from reports.experiments.spatten.design import breakdown, curves
from reports.experiments.spatten.pictures import pictures as pictures
from reports.experiments.spatten.power import power
from reports.experiments.spatten.release import release
from reports.experiments.spatten.throughput import throughput, traffic
from reports.experiments.spatten.workloads import traces
from workloads.errors import InputError

TITLE = "SpAtten (HPCA 2021) reproduced"
PAPER = "Wang, Zhang, Han: SpAtten, HPCA 2021, arXiv:2012.09852"

EXPERIMENTS: dict[str, Callable[[Lab], list[Claim]]] = {
    "throughput": throughput,
    "DRAM traffic": traffic,
    "power and area": power,
    "prior work": comparison,
    "FC layers": end_to_end,
    "speed-up breakdown": breakdown,
    "design space": curves,
    "released programs": release,
}
"""In the order of the page."""

NOT_SIMULATED = (
    "Speed-ups and energy savings over GPUs, CPUs and single-board computers, but for GPT-2 Medium "
    "on a TITAN Xp: the paper gives no times per benchmark.",
    "Bars per benchmark, the power of single modules and the points of the curves: they stand only "
    "in figures.",
    "The merge sorter that top-k is compared with, and accuracy: no fine-tuned models are at hand.",
)


DIFFERENCES_TITLE = "Where the sources disagree, and what the machine does"

MACHINES = ("spatten", "spatten-e2e", "spatten-eighth", "spatten-rtl", "a3", "mnnfast", "dense")
"""Whose fidelity the page shows."""

WITHOUT_FILES = (
    "GPT-2 workloads were made from the ratios of the files that the authors released; "
    "--traces FOLDER adds the files themselves."
)


def make_lab(files: Path | None) -> Lab:
    """Return the laboratory; `files` holds the authors' workload files, if they are at hand.

    Raises:
        InputError: a folder without workload files.
    """
    if files is not None and not any(files.glob("*.csv")):
        raise InputError(f"traces {files} must be a folder with SpAtten workload files (*.csv)")
    return Lab(traces(files))


def differences() -> Any:
    """Return where the sources disagree, as a table of text."""
    from reports.summary import TextTable
    from sim.machines.differences import DIFFERENCES

    rows = [
        [
            d.number,
            d.field or "",
            "" if d.field is None else str(d.default),
            ", ".join(str(value) for value in d.alternatives),
            d.sentence,
        ]
        for d in DIFFERENCES
    ]
    columns = ["", "field of spatten", "default", "alternatives", "what it is about"]
    return TextTable(columns, rows, [False] * 5)
