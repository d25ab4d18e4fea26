"""What commands print when they are done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import words
from reports.console import print_json, print_line, print_table
from reports.summary import TextTable, comparison, headline, second_line

if TYPE_CHECKING:
    from reports.job import Outcome
    from sim.result import Result
    from workloads.trace import Trace


def show_run(outcome: Outcome, *, as_json: bool) -> None:
    """Print the headline, the comparison and where the report is."""
    if as_json:
        print_json(
            {
                "folder": str(outcome.folder),
                "report": str(outcome.report) if outcome.report else None,
                "headline": headline(outcome.data),
                "results": [result.row for result in outcome.results],
                "phases_s": outcome.data.info.get("phases_s", {}),
                "peak_memory_bytes": outcome.data.info.get("peak_memory_bytes"),
            }
        )
        return
    for line in (headline(outcome.data), second_line(outcome.data)):
        if line:
            print_line(line)
    print_line("")
    print_table(comparison(outcome.data))
    print_line("")
    print_line(f"report: {outcome.report or 'not drawn'}   run folder: {outcome.folder}")


def show_trace(trace: Trace, folder: Path, *, as_json: bool) -> None:
    """Print where the trace is and how accurate the pruned model was."""
    header = trace.header
    if as_json:
        print_json({"trace": str(folder), "method": header.method, "accuracy": header.accuracy})
        return
    measured = ", ".join(f"{words.metric(k)} {v:.3f}" for k, v in header.accuracy.items())
    print_line(f"trace: {folder}" + (f"   accuracy: {measured}" if measured else ""))


def show_result(result: Result, folder: Path | None, *, as_json: bool) -> None:
    """Print the numbers of one simulation."""
    row = result.row
    if as_json:
        print_json(row)
        return
    rows = [[name, value] for name, value in _facts(row)]
    print_table(TextTable([f"{row['method']} trace", f"on {row['machine']}"], rows, [False, True]))
    if folder is not None:
        print_line(f"report: {folder / 'report.html'}")


def _facts(row: dict[str, Any]) -> list[tuple[str, str]]:
    compute = row["bound_compute_cycles"] / row["cycles"] if row["cycles"] else 0.0
    bandwidth = row["bound_bandwidth_cycles"] / row["cycles"] if row["cycles"] else 0.0
    return [
        ("cycles", f"{row['cycles']:,}"),
        ("latency", words.duration(row["latency_ns"])),
        ("compute bound", words.percent(compute) + " of the cycles"),
        ("bandwidth bound", words.percent(bandwidth) + " of the cycles"),
        ("multiplications", words.count_of(row["multiplications"])),
        ("of the dense trace's", words.count_of(row["multiplications_dense"])),
        ("throughput", f"{words.number(row['throughput_gops'])} x 10⁹ operations/s"),
        ("DRAM bytes", words.size(row["dram_transferred_bytes"])),
        ("energy", words.energy(row["energy_pj"])),
        ("power", f"{words.number(row['power_w'])} W"),
    ]
