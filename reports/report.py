"""The command `prunesim report`: the page of a run or a sweep, or of two of a kind compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.console import Phases, print_json, print_line
from reports.run_data import read_info
from reports.sweeping.read import is_sweep
from workloads.errors import InputError

COMPARISON = Path("compare.html")  # in the current folder: it belongs to neither of the two


def command(folders: list[Path], figure: str | None, out: Path | None, *, as_json: bool) -> None:
    """Draw what is asked for and say where it is.

    Args:
        folders: one run or sweep, or two of a kind.
        figure: draw only this figure, of one folder.
        out: page of a comparison.
        as_json: print one JSON value; of a comparison all that differs.

    Raises:
        InputError: neither a run nor a sweep, one of each, or an option that does not fit.
    """
    if len(folders) > 2:
        raise InputError(f"folders must be one or two, not {len(folders)}")
    kinds = [kind_of(folder) for folder in folders]
    if len(folders) == 2:
        if figure is not None:
            raise InputError("--figure must stand with one folder, there are two")
        _compare(folders, kinds, out or COMPARISON, as_json=as_json)
        return
    if out is not None:
        raise InputError("--out must stand with two folders, report.html is in the folder of one")
    with Phases(visible=not as_json) as phase, phase("draw the report"):
        name, path = _draw(folders[0], kinds[0], figure)
    if as_json:
        print_json({name: str(path)})
    else:
        print_line(f"{name}: {path}")


def kind_of(folder: Path) -> str:
    """Return "sweep" or "run".

    Raises:
        InputError: it is neither.
    """
    if is_sweep(folder):
        return "sweep"
    if read_info(folder) is not None:
        return "run"
    raise InputError(
        f"{folder} must be a run folder with a run.json or a sweep's folder with sweep.sqlite, "
        f"{'there is neither' if folder.is_dir() else 'it is no folder'}"
    )


def _draw(folder: Path, kind: str, figure: str | None) -> tuple[str, Path]:
    from reports import html
    from reports.sweeping import page

    if figure is not None:
        draw = page.write_figure if kind == "sweep" else html.write_figure
        return "figure", draw(folder, figure)
    return "report", (page.write_report if kind == "sweep" else html.write_report)(folder)


def _compare(folders: list[Path], kinds: list[str], out: Path, *, as_json: bool) -> None:
    if kinds[0] != kinds[1]:
        a, b = (f"{folder} is a {kind}" for folder, kind in zip(folders, kinds, strict=True))
        raise InputError(f"two folders must be of a kind to be compared, {a} and {b}")
    if not out.parent.is_dir():
        raise InputError(f"out {out} must be in a folder that exists")
    found = _compared(folders, kinds[0])
    with Phases(visible=not as_json) as phase, phase("draw the comparison"):
        found.write(out)
    if as_json:
        print_json({"page": str(out), **found.plain()})
        return
    for line in found.lines():
        print_line(line)
    print_line(f"page: {out}")


def _compared(folders: list[Path], kind: str) -> Any:
    if kind == "sweep":
        from reports.sweeping.compare_sweeps import compare_sweeps

        return compare_sweeps(*folders)
    from reports.compare_runs import compare_runs

    return compare_runs(*folders)
