"""The report: one HTML file that needs no network, made from a run folder and nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports import summary, words
from reports.figures import FIGURES, load
from reports.figures.style import NothingToDraw, save, svg
from reports.rtl_area import AREA_COLUMNS, BLOCK_COLUMNS, RtlTables, rtl_note, rtl_tables
from reports.run_data import RunData, read_run
from sim.result import ROW_COLUMNS, TABLE_COLUMNS
from workloads.config import unknown_name
from workloads.errors import InputError

_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Picture:
    """A figure in the page; `missing` says why there is none."""

    name: str
    title: str
    takeaway: str
    caption: str
    svg: str = ""
    missing: str = ""


def write_report(folder: Path) -> Path:
    """Draw the figures of a run folder, write `report.html` into it and return its path.

    Also written: `rtl_area.parquet` and `rtl_blocks.parquet`, the areas by synthesis.
    """
    run = read_run(folder)
    rtl = rtl_tables(run)
    rtl.save(folder)
    target = folder / "report.html"
    target.write_text(render(run, draw_figures(run, folder / "figures"), rtl), encoding="utf-8")
    return target


def write_figure(folder: Path, name: str) -> Path:
    """Draw one figure of a run folder again; return the path of its SVG.

    Raises:
        InputError: not a run folder, an unknown figure, or nothing to draw.
    """
    if name not in FIGURES:
        raise InputError(unknown_name("figure", name, dict.fromkeys(FIGURES)))
    picture = draw_figures(read_run(folder), folder / "figures", [name])[0]
    if picture.missing:
        raise InputError(f"figure {name} must have something to show: {picture.missing}")
    return folder / "figures" / f"{name}.svg"


def draw_figures(run: RunData, folder: Path, names: Iterable[str] = FIGURES) -> list[Picture]:
    """Draw figures; write each as PNG and SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for name in names:
        module = load(name)
        try:
            figure = module.draw(run)
        except NothingToDraw as reason:
            pictures.append(Picture(name, module.TITLE, "", "", missing=f"{reason}."))
            continue
        save(figure, folder / f"{name}.png")
        figure.set_layout_engine("none")  # the layout is found: once is enough
        drawing = svg(figure)
        (folder / f"{name}.svg").write_bytes(drawing)
        element = inline(drawing.decode(), name)
        pictures.append(Picture(name, module.TITLE, module.takeaway(run), module.CAPTION, element))
    return pictures


def inline(drawing: str, name: str) -> str:
    """Return the bare SVG element, its identifiers made unique within the page."""
    element = drawing[drawing.index("<svg") :]
    for attribute in ('id="', 'href="#', "url(#"):
        element = element.replace(attribute, f"{attribute}{name}-")
    return element


def fill(template: str, **values: Any) -> str:
    """Fill a page; a value that is missing raises."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def render(run: RunData, pictures: list[Picture], rtl: RtlTables) -> str:
    """Fill the report."""
    first = run.rows.iloc[0]
    return fill(
        _TEMPLATE,
        title=f"{run.method} on {run.machine}",
        workload=first["workload"],
        sequences=f"{first['sequences']:,}",
        model=first["model"],
        badges=_badges(run),
        headline=summary.headline(run),
        second_line=summary.second_line(run),
        cards=summary.cards(run),
        comparison=summary.comparison(run),
        pictures=pictures,
        accuracy=summary.accuracy_table(run),
        accuracy_note=_accuracy_note(run),
        layers=summary.layer_table(run),
        machines=_machines(run),
        methods=_methods(run),
        constants=summary.constants_table(run),
        areas=summary.area_table(run),
        rtl_areas=summary.rtl_area_table(rtl.areas),
        rtl_blocks=summary.rtl_block_table(rtl.blocks),
        rtl_note=rtl_note(rtl),
        glossary=_glossary(),
        command=shlex.join(run.info.get("command", [])),
        facts=_facts(run.info),
        version=first["prunesim_version"],
        words=words,
    )


def _accuracy_note(run: RunData) -> str:
    note = "1 is agreement with the model in full precision."
    if any("retrieval" in name for name in run.accuracies.columns):
        note += (
            " Partner found: share of the first sentences whose nearest second sentence is "
            "their own partner."
        )
    return note


def _badges(run: RunData) -> list[tuple[str, str]]:
    """Return what a reader must know before believing a number: (badge, meaning)."""
    rows = run.rows
    badges = []
    if rows["synthetic"].any():
        badges.append(("synthetic", "the sparsity was assumed, not measured on a model"))
    drawn = sorted(set(rows.loc[rows["topk_data"] == "drawn", "machine"]))
    if drawn:
        text = f"top-k engines of {words.join(drawn)} saw seeded random ranks, not recorded scores"
        badges.append(("drawn top-k data", text))
    for machine, ideal in rows.groupby("machine", sort=False)["ideal"].first().items():
        if ideal:
            badges.append(("idealised", f"{machine}: {ideal.replace(',', ', ')}"))
    if run.info.get("status", "finished") != "finished":
        badges.append(("unfinished", "the run was stopped; these are the results it had"))
    return badges


def _machines(run: RunData) -> list[dict[str, Any]]:
    found = []
    for name in run.machines:
        about = run.info.get("machines", {}).get(name, {})
        config = json.loads(run.rows.loc[run.rows["machine"] == name, "config"].iloc[0])
        found.append(
            {
                "name": name,
                "description": about.get("description", ""),
                "fidelity": list(about.get("fidelity", ())),
                "config": summary.config_table(config, about.get("fields", {})),
            }
        )
    return found


def _methods(run: RunData) -> list[tuple[str, str, str]]:
    """Return (name, description, parameters) of each method."""
    found = []
    for name in run.methods:
        about = run.info.get("methods", {}).get(name, {})
        parameters = json.loads(run.rows.loc[run.rows["method"] == name, "parameters"].iloc[0])
        text = ", ".join(f"{key} = {value}" for key, value in summary.flatten(parameters))
        found.append((name, about.get("description", ""), text or "no parameters"))
    return found


def _glossary() -> list[tuple[str, dict[str, str]]]:
    tables = [("results", ROW_COLUMNS)]
    tables += [(name, columns) for name, columns in TABLE_COLUMNS.items()]
    return [*tables, ("rtl_area", AREA_COLUMNS), ("rtl_blocks", BLOCK_COLUMNS)]


def _facts(info: Any) -> list[tuple[str, str]]:
    """Return where, when and how fast the run was made."""
    facts = [(name, str(value)) for name, value in info.get("platform", {}).items()]
    facts += [(name, str(value)) for name, value in info.get("versions", {}).items()]
    facts += [
        (f"time: {name}", f"{value:.2f} s") for name, value in info.get("phases_s", {}).items()
    ]
    if "peak_memory_bytes" in info:
        facts.append(("peak memory", words.size(info["peak_memory_bytes"])))
    if "seed" in info:
        facts.append(("seed", str(info["seed"])))
    return facts
