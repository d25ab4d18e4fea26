"""Timelines as Chrome trace JSON, which Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sim.result import Result

_MICROSECONDS = 1e6


def chrome_trace(results: Iterable[Result]) -> dict[str, Any]:
    """Return the trace: one process per result, one thread per unit, time in microseconds.

    Operations of a unit that overlap without nesting (a pipelined unit) go to further threads,
    because a viewer can only nest them within one.
    """
    events: list[dict[str, Any]] = []
    for process, result in enumerate(results, start=1):
        name = f"{result.row['method']} trace on {result.row['machine']}"
        events.append(_named("process_name", process, 0, name))
        events += _process(result.tables["timeline"], process, result.row["clock_hz"])
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def write_chrome_trace(results: Iterable[Result], path: Path) -> None:
    path.write_text(json.dumps(chrome_trace(results), separators=(",", ":")) + "\n")


def _process(timeline: pd.DataFrame, process: int, clock_hz: float) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    scale = _MICROSECONDS / clock_hz
    thread = 0
    for unit, rows in timeline.groupby("unit", sort=False):
        ordered = rows.sort_values(["start_cycle", "end_cycle"], kind="stable")
        lanes: list[int] = []  # end of the last operation of each thread
        for name, start, end in zip(
            ordered["name"], ordered["start_cycle"], ordered["end_cycle"], strict=True
        ):
            lane = next((i for i, free in enumerate(lanes) if free <= start), len(lanes))
            if lane == len(lanes):
                lanes.append(0)
                suffix = f" ({lane + 1})" if lane else ""
                events.append(_named("thread_name", process, thread + lane + 1, f"{unit}{suffix}"))
            lanes[lane] = int(end)
            events.append(
                {
                    "name": str(name),
                    "cat": str(unit),
                    "ph": "X",
                    "ts": int(start) * scale,
                    "dur": int(end - start) * scale,
                    "pid": process,
                    "tid": thread + lane + 1,
                    "args": {"start_cycle": int(start), "end_cycle": int(end)},
                }
            )
        thread += len(lanes)
    return events


def _named(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
