"""The commands of `prunesim bench`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

bench = typer.Typer(no_args_is_help=True, help="Measure kernels on a GPU, or on this CPU.")

Quick = Annotated[bool, typer.Option("--quick", help="Fewer and shorter windows.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Keep the rows of the folder, measure what is missing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]


def add_commands(told: Callable[[Callable[..., Any]], Callable[..., Any]]) -> typer.Typer:
    """Return the commands; `told` turns a user's mistake into one sentence."""
    for function in (gpu, cpu):
        bench.command()(told(function))
    return bench


def gpu(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Default: all; `prunesim list kernels`."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would run; needs no GPU.")
    ] = False,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Rows are appended to gpu.jsonl there.")
    ] = Path("runs/bench-gpu"),
    quick: Quick = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Time the kernels at the papers' shapes and over sparsity, beside their dense controls."""
    from reports.gpu import benching

    if dry_run:
        benching.show_plan(benching.planned(names or [], quick), as_json=json)
        return
    path = benching.run_bench(names or [], out, quick=quick, resume=resume, visible=not json)
    benching.show_rows(path, as_json=json)


def cpu(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Rows are appended to cpu.jsonl there.")
    ] = Path("runs/bench-cpu"),
    quick: Quick = False,
    resume: Resume = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Default: as torch has, OMP_NUM_THREADS.")
    ] = None,
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="What else is to be known; kept in every row.")
    ] = "",
    json: Json = False,
) -> None:
    """Time block-sparse weights and pruned attention on this CPU, beside dense ones."""
    from reports.gpu import cpu_benching

    path = cpu_benching.run_bench(
        out, quick=quick, resume=resume, threads=threads, note=note, visible=not json
    )
    cpu_benching.show_rows(path, as_json=json)
