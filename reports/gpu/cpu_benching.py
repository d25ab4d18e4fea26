"""`prunesim bench cpu`: block-sparse weights and pruned attention on the host at hand."""

from __future__ import annotations

from pathlib import Path

from algos.kernels.environment import environment
from algos.kernels.rows import Row, Rows, read_rows
from reports import words
from reports.console import Phases, print_json, print_line, print_table
from reports.errors import Interrupted
from reports.summary import TextTable

FILE = "cpu.jsonl"


def run_bench(
    out: Path, *, quick: bool, resume: bool, threads: int | None, note: str, visible: bool
) -> Path:
    """Measure on this CPU and return the file of rows.

    Raises:
        InputError: rows that are there without `resume`.
        Interrupted: stopped; the rows so far are kept.
    """
    store = Rows(out / FILE, resume=resume)
    from algos.kernels.cpu import bench, cases, host
    from algos.kernels.cpu.spmm import vector_bits

    about = {
        **host.facts(host.use_threads(threads)),
        **environment("torch", "numba"),
        "vector_bits": vector_bits(),
        "note": note,
    }
    settings = bench.QUICK if quick else bench.FULL
    of = len(cases.WEIGHTS) * len(cases.TOKENS) + len(cases.ATTENTIONS)
    seen: list[str] = []
    try:
        with Phases(visible) as phase, phase("measure") as progress:

            def update(shape: str) -> None:
                progress(len(seen), of)
                seen.append(shape)

            bench.bench(cases.groups(), store, settings, about, update)
    except KeyboardInterrupt:
        kept = len(read_rows(store.path))
        raise Interrupted(f"stopped; {kept} rows are in {store.path}, --resume goes on") from None
    return store.path


def show_rows(path: Path, *, as_json: bool) -> None:
    """Print the rows of a bench, and what was not measured and why."""
    rows = [*{row["key"]: row for row in read_rows(path)}.values()]
    if as_json:
        print_json(rows)
        return
    print_table(table(rows))
    for row in (row for row in rows if row["status"] != "measured"):
        print_line(f"{row['kernel']} at {row['shape']}: {row['status']}, {row['reason']}")
    print_line(f"rows: {path}")


def table(rows: list[Row]) -> TextTable:
    """Return a line for each measured row."""
    columns = ["kernel", "shape", "by", "left out", "median", "p10 to p90", "flop/s", "speedup"]
    lines = [
        [
            *(row["kernel"], row["shape"], row["implementation"], f"{row['sparsity']:.1%}"),
            words.duration(row["median_ns"]),
            f"{words.duration(row['p10_ns'])} to {words.duration(row['p90_ns'])}",
            words.si(row["flops_per_s"], ""),
            "-" if row["speedup"] is None else words.times(row["speedup"]),
        ]
        for row in rows
        if row["status"] == "measured"
    ]
    return TextTable(columns, lines, [False] * 3 + [True] * 5)
