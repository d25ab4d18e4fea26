"""The commands of `prunesim rtl`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

rtl = typer.Typer(no_args_is_help=True, help="Generate, verify, simulate and synthesise blocks.")

Name = Annotated[str, typer.Argument(metavar="BLOCK", help="`prunesim list blocks` names them.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set a field of the block. Repeatable."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of vectors and stalls.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]


def add_commands(told: Callable[[Callable[..., Any]], Callable[..., Any]]) -> typer.Typer:
    """Return the commands; `told` turns a user's mistake into one sentence."""
    for function in (generate, verify, simulate, synth, record):
        rtl.command()(told(function))
    return rtl


def generate(
    block: Name,
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.v", help="Default: BLOCK.v here.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a block as Verilog, with a JSON of its configuration, ports and latency."""
    from reports import hardware
    from reports.console import print_json, print_line

    about = hardware.generate(block, set_ or [], out or Path(f"{block}.v"), visible=not json)
    if json:
        print_json(about)
        return
    print_line(f"Verilog: {about['verilog']}   ports and configuration: {about['json']}")


def verify(
    block: Annotated[
        str | None, typer.Argument(metavar="[BLOCK]", help="Default: all, each at three sizes.")
    ] = None,
    set_: Set = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Compare a block with its golden function and its timing model, in Verilator."""
    from reports import hardware
    from reports.console import print_json, print_line
    from workloads.errors import InputError

    if block is None and set_:
        raise InputError(f"block must be given to set {set_[0]!r}, it is not")
    rows = hardware.verify(block, set_ or [], seed, visible=not json)
    failed = [row for row in rows if not row["passed"]]
    if json:
        print_json(rows)
    else:
        _print_tests(rows)
        print_line(f"{len(rows) - len(failed)} of {len(rows)} tests passed")
    if failed:
        raise typer.Exit(1)


def simulate(
    block: Name,
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Default: runs/rtl-BLOCK.")
    ] = None,
    vcd: Annotated[bool, typer.Option("--vcd", help="Write a waveform.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Run a block's bench and keep Verilog, logs and, if wanted, a waveform."""
    from reports import hardware
    from reports.console import print_json, print_line

    folder = out or Path("runs") / f"rtl-{block}"
    done = hardware.simulate_block(block, set_ or [], folder, seed, vcd, visible=not json)
    if json:
        print_json(done)
    else:
        _print_tests(done["tests"])
        print_line(f"folder: {done['folder']}" + (f"   waveform: {done['vcd']}" if vcd else ""))
    if not all(test["passed"] for test in done["tests"]):
        raise typer.Exit(1)


def synth(block: Name, set_: Set = None, json: Json = False) -> None:
    """Count what a block costs on UltraScale+ and in gate equivalents."""
    from reports import hardware
    from reports.console import print_json, print_table
    from reports.summary import TextTable

    found = hardware.synthesise(block, set_ or [], visible=not json)
    if json:
        print_json(found)
        return
    rows = [
        [target, name, f"{value:,}"]
        for target in ("fpga", "asic")
        for name, value in found[target].items()
    ]
    print_table(TextTable(["target", "resource", "count"], rows, [False, False, True]))


def record(
    blocks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BLOCK]...", help="Default: those whose record is out of date."),
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option(metavar="FILE.md", help="Also write the table of blocks into this file."),
    ] = None,
) -> None:
    """Verify and synthesise blocks, and record what `prunesim list blocks` says of them."""
    from reports.blocks import RECORD, renew, stale_blocks, write_table
    from reports.console import print_line

    for name in renew(blocks or stale_blocks(), visible=True):
        print_line(f"{name}: recorded")
    if readme is not None:
        write_table(readme)
    print_line(f"record: {RECORD}" + (f"   table: {readme}" if readme else ""))


def _print_tests(rows: list[dict[str, Any]]) -> None:
    from reports.console import print_table
    from reports.summary import TextTable

    lines = [
        [
            row["block"],
            " ".join(f"{name}={value}" for name, value in row["config"].items()),
            row["name"],
            "passed" if row["passed"] else f"failed: {row['message']}",
            f"{row['seconds']:.1f}",
        ]
        for row in rows
    ]
    columns = ["block", "configuration", "test", "", "s"]
    print_table(TextTable(columns, lines, [False, False, False, False, True]))
