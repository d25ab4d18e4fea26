"""What `prunesim baselines` does."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.console import Phases, print_json, print_line
from reports.experiments.picture import Plan
from reports.figures.style import NothingToDraw, save, svg
from reports.gpu.baselines.page import (
    DEVICES,
    Baselines,
    check_figure,
    find,
    plans,
    render,
    write_tables,
)
from reports.html import Picture, inline
from workloads.errors import InputError

COMMAND = "prunesim baselines --figure"


def run_baselines(
    out: Path, devices: Sequence[str] = DEVICES, figure: str | None = None, *, visible: bool
) -> tuple[Path, Baselines]:
    """Write the page, its tables and its figures; or one figure alone.

    Args:
        out: folder, made if it is not there.
        devices: names of modelled GPUs.
        figure: name of the only figure to draw; None: everything.
        visible: whether progress is shown on a terminal.

    Returns:
        The page, or the SVG of the figure; and what was found.

    Raises:
        InputError: an unknown device or figure, or a figure without anything to show.
    """
    if figure is not None:
        check_figure(figure)
    pictures = out / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    with Phases(visible) as phase:
        found = find(devices, phase)
        chosen = [plan for plan in plans(found) if figure in (None, plan.name)]
        with phase("draw"):
            shown = [_draw(plan, pictures) for plan in chosen]
        if figure is not None:
            if shown[0].missing:
                raise InputError(f"figure {figure} must have something to show: {shown[0].missing}")
            return pictures / f"{figure}.svg", found
        write_tables(found, out)
        page = out / "index.html"
        command = shlex.join(["prunesim", *sys.argv[1:]])
        page.write_text(render(found, shown, command, phase.total_seconds), encoding="utf-8")
    return page, found


def _draw(plan: Plan, folder: Path) -> Picture:
    """Draw a figure, write it as PNG and SVG, and return what the page shows of it."""
    try:
        figure = plan.draw()
    except NothingToDraw as reason:
        return Picture(plan.name, plan.title, "", "", missing=f"{reason}.")
    save(figure, folder / f"{plan.name}.png")
    figure.set_layout_engine("none")  # the layout is found: once is enough
    drawing = svg(figure)
    (folder / f"{plan.name}.svg").write_bytes(drawing)
    shown = inline(drawing.decode(), plan.name)
    return Picture(plan.name, plan.title, plan.takeaway, plan.caption, shown)


def show_baselines(path: Path, found: Baselines, out: Path, *, as_json: bool) -> None:
    """Print what the rows say, and where everything is."""
    if as_json:
        tables = {
            name: frame.astype(object).where(frame.notna(), None).to_dict("records")
            for name, frame in (("rows", found.rows), ("ratios", found.ratios))
        }
        print_json({"page": str(path), "sentences": [found.headline, *found.sentences], **tables})
        return
    print_line(f"{found.headline}.")
    for sentence in found.sentences:
        print_line(sentence)
    if path.suffix == ".svg":
        print_line(f"figure: {path}")
    else:
        print_line(f"page: {path}   tables: {out / 'rows.csv'}, {out / 'ratios.csv'}")
