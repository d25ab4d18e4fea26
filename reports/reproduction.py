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
from workloads.config import unknown_name
from workloads.errors import InputError

PAPERS = {"spatten": "reports.experiments.spatten"}
"""Name on the command line -> module with its experiments."""


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
        InputError: an unknown paper, or a folder without workload files.
    """
    from reports.experiments.claim import claim_table

    if paper not in PAPERS:
        raise InputError(unknown_name("paper", paper, PAPERS))
    if files is not None and not any(files.glob("*.csv")):
        raise InputError(f"traces {files} must be a folder with SpAtten workload files (*.csv)")
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
        has_files=files is not None,
        pictures=_pictures(table, out / "figures"),
        sections=sections,
        differences=_differences(),
        not_simulated=module.NOT_SIMULATED,
        fidelity=[(name, kind().fidelity) for name, kind in MACHINES.items()],
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


def _differences() -> Any:
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


def _pictures(table: pd.DataFrame, folder: Path) -> list[Any]:
    from reports.experiments import figures
    from reports.figures.style import save, svg
    from reports.html import Picture, inline

    folder.mkdir(parents=True, exist_ok=True)
    ratios = figures.compared(table)["ratio"]
    plans = [
        ("ratios", "Ours over published", figures.draw_ratios, len(ratios) > 0,
         f"The median ratio is {words.number(float(ratios.median()))}.",
         "One dot for each published value; the green band is 15 % on both sides."),
        ("breakdown", "What each step of the design buys on GPT-2", figures.draw_breakdown,
         len(figures.steps(table)) > 0, _breakdown_sentence(figures.steps(table)),
         "Each bar: how many times faster than the step before; pruning alone runs with a serial "
         "top-k engine."),
        ("curves", "Two sizes of the design", figures.draw_curves,
         len(figures.points(table, figures.LANES)) > 0, _curve_sentence(table),
         "GPT-2 Small at the ratios of the authors' file; dashed: the paper's choice."),
    ]  # fmt: skip
    pictures = []
    for name, title, draw, has_rows, takeaway, caption in plans:
        if not has_rows:
            continue
        figure = draw(table)
        save(figure, folder / f"{name}.png")
        figure.set_layout_engine("none")
        drawing = svg(figure)
        (folder / f"{name}.svg").write_bytes(drawing)
        pictures.append(Picture(name, title, takeaway, caption, inline(drawing.decode(), name)))
    return pictures


def _breakdown_sentence(steps: pd.DataFrame) -> str:
    parts = [
        f"{row['quantity'].lstrip('+= ')}: {words.number(row['ours'])} against "
        f"{words.number(row['published'])} times"
        for row in steps.to_dict("records")
        if row["quantity"].startswith(("=", "dedicated"))
    ]
    return _sentence(parts)


def _curve_sentence(table: pd.DataFrame) -> str:
    said = table[table["verdict"].isin(["holds", "fails"])]
    return _sentence(
        [
            f"{row['quantity'].partition(':')[0]}: {row['verdict']}"
            for row in said.to_dict("records")
        ]
    )


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
