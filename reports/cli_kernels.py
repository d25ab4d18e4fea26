"""The commands of `prunesim kernels`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

kernels = typer.Typer(no_args_is_help=True, help="Compile GPU kernels and read their resources.")


def add_commands(told: Callable[[Callable[..., Any]], Callable[..., Any]]) -> typer.Typer:
    """Return the commands; `told` turns a user's mistake into one sentence."""
    for function in (inspect, record, break_even):
        kernels.command(function.__name__.replace("_", "-"))(told(function))
    return kernels


def inspect(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="`prunesim list kernels`.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every kernel.")] = False,
    target: Annotated[
        str | None, typer.Option(metavar="sm_80|sm_90", help="Default: both.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON value and nothing else.")
    ] = False,
) -> None:
    """Compile kernels at the papers' shapes, without a GPU; fail where a promise is broken."""
    from reports.gpu.inspecting import run_inspection, show_inspection

    rows = run_inspection(names or [], all_, target, visible=not json)
    if not show_inspection(rows, as_json=json):
        raise typer.Exit(1)


def record(
    readme: Annotated[
        Path | None,
        typer.Option(metavar="README.md", help="Renew the table of kernels in this file too."),
    ] = None,
) -> None:
    """Compile what has changed and record the resources that reports and the cost model read."""
    import os

    from reports.console import print_line
    from reports.gpu.kernel_table import write_table
    from reports.gpu.record import RECORD, renew

    for name in renew(os.cpu_count() or 1, visible=True):
        print_line(f"{name}: recorded")
    if readme is not None:
        write_table(readme)
    print_line(f"record: {RECORD}" + (f"   table: {readme}" if readme else ""))


def break_even(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Default: every sparse kernel."),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="a100|h100|h200|...", help="Measured there, else modelled.")
    ] = "h100",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw time over sparsity there.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON value and nothing else.")
    ] = False,
) -> None:
    """Find the sparsity from which on each kernel beats its dense control."""
    from reports.gpu.break_even_command import run_break_even, show_break_even

    show_break_even(run_break_even(names or [], device, out), out, as_json=json)
