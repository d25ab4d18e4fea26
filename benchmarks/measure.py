"""Shared by the benchmarks: the machine, and one table with the bar beside each number."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple


class Measured(NamedTuple):
    """One number and the bar it must stay under; None: there is no bar."""

    what: str
    value: float
    unit: str
    bar: float | None = None


def show(title: str, rows: list[Measured]) -> bool:
    """Print a table and return whether every bar was met."""
    print(f"\n{title}   [{_machine()}]")
    for row in rows:
        bar = "" if row.bar is None else f"bar {row.bar:g} {row.unit}"
        verdict = "" if row.bar is None else ("ok" if row.value < row.bar else "MISSED")
        print(f"  {row.what:<58} {row.value:>9.3f} {row.unit:<3} {bar:<12} {verdict}")
    return all(row.bar is None or row.value < row.bar for row in rows)


def _machine() -> str:
    """Return processor and cores: a time means nothing without them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    name = names[0] if names else platform.processor() or "unknown processor"
    return f"{name}, {cores} cores, Python {platform.python_version()}"
