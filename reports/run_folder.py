"""The run folder: who owns it, and run.json, which says how its numbers were made."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reports.run_data import read_info
from sim.result import TABLE_COLUMNS
from workloads.errors import InputError

_LIBRARIES = ("numpy", "numba", "pandas", "pyarrow", "simpy", "torch", "transformers")
_FOLDERS = ("traces", "figures")
_FILES = (
    "results.parquet",
    *(f"{name}.parquet" for name in TABLE_COLUMNS),
    "rtl_area.parquet",
    "rtl_blocks.parquet",
    "timeline.json",
    "report.html",
    "run.json",
)


def claim(folder: Path) -> None:
    """Make an empty run folder; one of ours is emptied of what a run writes.

    Raises:
        InputError: the folder holds other things, or it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output {folder} must be a folder, it is a file")
    try:
        if folder.is_dir() and any(folder.iterdir()) and read_info(folder) is None:
            raise InputError(
                f"output {folder} must be new, empty or an earlier run's folder, "
                "it holds other files"
            )
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FOLDERS:
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        probe = folder / ".prunesim"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"output {folder} must be writable: {reason}") from error


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Write run.json."""
    (folder / "run.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def describe_platform() -> dict[str, Any]:
    """Return what a reader needs to compare times."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
    }


def cores() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def package_versions() -> dict[str, str]:
    """Return the versions of the libraries that make the numbers."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process plus that of its largest helper."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = sum(resource.getrusage(kind).ru_maxrss for kind in kinds)
    return int(peak if sys.platform == "darwin" else peak * 1024)
