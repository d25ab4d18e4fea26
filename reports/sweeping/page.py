"""The page of a sweep: one HTML file that needs no network, made from the sweep's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports import words
from reports.figures.style import NothingToDraw, save, svg
from reports.html import fill, inline
from reports.sweeping import explorer, groups, tables
from reports.sweeping.export import COLUMNS, write_tables
from reports.sweeping.figures import FIGURES, load
from reports.sweeping.read import SweepData, read_sweep
from reports.sweeping.rerun import as_toml, figure_command, sweep_command
from sim.result import ROW_COLUMNS
from workloads.config import unknown_name
from workloads.errors import InputError

_TEMPLATE = "sweep.html.j2"
_GROUPS = {"front": "front", "sensitivity": "sensitivity", "effects": "sensitivity"}


@dataclass(frozen=True)
class Picture:
    """A figure in the page; `missing` says why there is none."""

    name: str
    title: str
    takeaway: str
    caption: str
    command: str
    svg: str = ""
    missing: str = ""


def write_report(folder: Path) -> Path:
    """Draw the figures of a sweep's folder, write `report.html` into it and return its path.

    Also written: `points.csv`, `points.parquet`, `sweep.toml` and, for each figure, PNG, SVG and
    CSV in `figures`.

    Raises:
        InputError: not a sweep's folder, or no point is in it.
    """
    data = read_sweep(folder)
    write_tables(data)
    target = folder / "report.html"
    target.write_text(render(data, draw_figures(data)), encoding="utf-8")
    return target


def write_figure(folder: Path, name: str) -> Path:
    """Draw one figure of a sweep again; return the path of its SVG.

    Raises:
        InputError: not a sweep's folder, an unknown figure, or nothing to draw.
    """
    if name not in FIGURES:
        raise InputError(unknown_name("figure", name, dict.fromkeys(FIGURES)))
    picture = draw_figures(read_sweep(folder), [name])[0]
    if picture.missing:
        raise InputError(f"figure {name} must have something to show: {picture.missing}")
    return folder / "figures" / f"{name}.svg"


def draw_figures(data: SweepData, names: Iterable[str] = FIGURES) -> list[Picture]:
    """Draw figures; write each as PNG and SVG, and its numbers as CSV."""
    folder = data.folder / "figures"
    folder.mkdir(exist_ok=True)
    found = []
    for name in names:
        module = load(name)
        command = figure_command(data.folder, name)
        try:
            figure = module.draw(data)
        except NothingToDraw as reason:
            found.append(Picture(name, module.TITLE, "", "", command, missing=f"{reason}."))
            continue
        save(figure, folder / f"{name}.png")
        figure.set_layout_engine("none")  # the layout is found: once is enough
        drawing = svg(figure)
        (folder / f"{name}.svg").write_bytes(drawing)
        module.table(data).to_csv(folder / f"{name}.csv", index=False)
        element = inline(drawing.decode(), name)
        found.append(
            Picture(name, module.TITLE, module.takeaway(data), module.CAPTION, command, element)
        )
    return found


def render(data: SweepData, pictures: list[Picture]) -> str:
    """Fill the page."""
    space = data.space
    traces, same_of_traces = tables.traces_table(data)
    names, rows = tables.front_table(data, _front_numbers(data))
    shown_names, shown_rows = tables.front_table(data, data.shown)
    return fill(
        _TEMPLATE,
        title=space.title,
        subject=_subject(data),
        headline=tables.headline(data),
        objectives=tables.objectives_line(data),
        constraints=tables.constraints_line(data),
        badges=tables.badges(data),
        best=tables.best_points(data),
        best_line=tables.best_line(data),
        groups=tables.groups_table(data),
        group_title=groups.title(data),
        any_done=bool(data.done.any()),
        bokeh=explorer.script() if data.done.any() else "",
        content=explorer.as_json(explorer.content(data)),
        plots=same_names(explorer.as_json(explorer.plots())),
        front_names=names,
        front_rows=rows,
        front_size=int(data.front.sum()),
        shown_names=shown_names,
        shown_rows=shown_rows,
        shown_line=tables.shown_line(data),
        pictures={group: _of(pictures, group) for group in ("front", "sensitivity", "inside")},
        failed=tables.not_run(data, "failed"),
        pruned=tables.not_run(data, "pruned"),
        machines=tables.machines(data),
        traces=traces,
        same_of_traces=same_of_traces,
        space=as_toml(space),
        command=sweep_command(data),
        report_command=f"prunesim report {data.folder}",
        facts=tables.facts(data),
        glossary=[("points.csv, points.parquet", {**COLUMNS, **ROW_COLUMNS})],
        words=words,
    )


def _front_numbers(data: SweepData) -> list[int]:
    """Return the points of the front that its table shows."""
    if data.grouped:
        return data.chosen(tables.FRONT_ROWS)
    return [int(number) for number in data.on_front.index[: tables.FRONT_ROWS]]


def _of(pictures: list[Picture], group: str) -> list[Picture]:
    return [picture for picture in pictures if _GROUPS.get(picture.name, "inside") == group]


def _subject(data: SweepData) -> str:
    rows = data.rows[data.done]
    parts: list[Any] = []
    for name in ("workload", "method", "machine"):
        found = list(dict.fromkeys(rows[name])) if len(rows) else []
        parts.append(words.join(found) if 0 < len(found) <= 3 else f"{len(found)} {name}s")
    return " · ".join(parts)


def same_names(text: str) -> str:
    """Number the models of a plot's JSON from 1: the same sweep gives the same page."""
    names: dict[str, str] = {}
    return re.sub(
        r'"p\d+"', lambda found: names.setdefault(found[0], json.dumps(f"m{len(names)}")), text
    )
