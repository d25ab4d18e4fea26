"""A paper reproduced: runs the experiments, writes one CSV, one page and its figures."""

from __future__ import annotations

import shlex
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from reports import words
from reports.console import Phases
from reports.experiments.picture import Plan
from workloads.config import unknown_name
from workloads.errors import InputError

PAPERS = {"spatten": "reports.experiments.spatten", "accllm": "reports.experiments.accllm"}
"""Name on the command line -> module with its experiments.

A module has TITLE, PAPER, EXPERIMENTS (name -> function of the laboratory), NOT_SIMULATED, MACHINES
(whose fidelity the page shows), WITHOUT_FILES (what it says where the authors' files are not at
hand), `make_lab(files)`, `pictures(table, lab)` and `differences()`, a table under
DIFFERENCES_TITLE.
"""


class Reproduction(NamedTuple):
    """What was made."""

    page: Path
    table: pd.DataFrame


def reproduce(paper: str, out: Path, files: Path | None, *, visible: bool) -> Reproduction:
    """Run all experiments of a paper and write `claims.csv`, `figures/` and `index.html`.

    Args:
        paper: of `PAPERS`.
        out: folder to write to; made if it is not there.
        files: folder with the authors' workload files; None: without them.
        visible: whether progress is shown on a terminal.

    Raises:
        InputError: an unknown paper, a folder without workload files, or for a paper without any.
    """
    from reports.experiments.claim import claim_table

    if paper not in PAPERS:
        raise InputError(unknown_name("paper", paper, PAPERS))
    module = import_module(PAPERS[paper])
    lab = module.make_lab(files)
    claims: list[Any] = []
    out.mkdir(parents=True, exist_ok=True)
    target = out / "claims.csv"
    with Phases(visible) as phase:
        for name, experiment in module.EXPERIMENTS.items():
            with phase(name):
                claims += experiment(lab)
            claim_table(claims).to_csv(target, index=False)  # kept if the rest is stopped
        with phase("draw the page"):
            table = claim_table(claims)
            page = out / "index.html"
            page.write_text(_page(module, lab, table, out, files, phase), encoding="utf-8")
    return Reproduction(page, table)


def headline(table: pd.DataFrame) -> str:
    """Say how many of the published values were met."""
    counts = table["verdict"].value_counts()
    met, near, off = (int(counts.get(name, 0)) for name in ("met", "near", "off"))
    holds, fails = (int(counts.get(name, 0)) for name in ("holds", "fails"))
    text = f"{met} of {met + near + off} published values are met within 15 %, {near} more within "
    text += f"a factor of two, {off} are not"
    if holds + fails:
        text += f"; {holds} of {holds + fails} statements in words hold"
    return text + "."


def _page(
    module: Any, lab: Any, table: pd.DataFrame, out: Path, files: Path | None, phase: Phases
) -> str:
    from reports.experiments.claim import CLOSE, COLUMNS
    from reports.html import fill
    from sim.machines import MACHINES

    sections = [
        (section, [_row(row) for row in rows.to_dict("records")])
        for section, rows in table.groupby("section", sort=False)
    ]
    return fill(
        "reproduce.html.j2",
        title=module.TITLE,
        paper=module.PAPER,
        version=version("prunesim"),
        headline=headline(table),
        close=words.percent(CLOSE),
        without_files="" if files is not None else module.WITHOUT_FILES,
        pictures=_pictures(module.pictures(table, lab), out / "figures"),
        sections=sections,
        differences_title=module.DIFFERENCES_TITLE,
        differences=module.differences(),
        not_simulated=module.NOT_SIMULATED,
        fidelity=[(name, MACHINES[name]().fidelity) for name in module.MACHINES],
        columns=COLUMNS,
        command=shlex.join(["prunesim", *sys.argv[1:]]),
        runs=lab.runs,
        seconds=f"{phase.total_seconds:.0f} s",
    )


def _row(row: dict[str, Any]) -> dict[str, str]:
    shown = {name: str(value) for name, value in row.items()}
    for name in ("published", "ours", "ratio"):
        shown[name] = words.number(row[name]) if pd.notna(row[name]) else ""
    return shown


def _pictures(plans: list[Plan], folder: Path) -> list[Any]:
    from reports.figures.style import save, svg
    from reports.html import Picture, inline

    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for plan in plans:
        figure = plan.draw()
        save(figure, folder / f"{plan.name}.png")
        figure.set_layout_engine("none")
        drawing = svg(figure)
        (folder / f"{plan.name}.svg").write_bytes(drawing)
        shown = inline(drawing.decode(), plan.name)
        pictures.append(Picture(plan.name, plan.title, plan.takeaway, plan.caption, shown))
    return pictures
