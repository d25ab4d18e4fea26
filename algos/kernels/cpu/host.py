"""The CPU of this machine: its name, its cache, its threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LABEL = "measured:cpu"
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return the model name that the system gives; None: it gives none."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return None


def cache_bytes(folder: Path = _CACHES) -> int:
    """Return the size of the largest cache that one core sees; 32 MiB where none is told."""
    sizes = [path.read_text("utf-8").strip() for path in folder.glob("index*/size")]
    known = [int(text[:-1]) * _UNITS[text[-1]] for text in sizes if text[-1:] in _UNITS]
    return max(known, default=32 << 20)


def use_threads(threads: int | None) -> int:
    """Give torch and numba the same number of threads and return it; None: as torch has."""
    import numba
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    launched: Any = numba.config
    together = int(min(torch.get_num_threads(), launched.NUMBA_NUM_THREADS))
    torch.set_num_threads(together)
    numba.set_num_threads(together)
    return together


def facts(threads: int) -> dict[str, Any]:
    """Return columns of every row."""
    return {"label": LABEL, "cpu": cpu_name(), "threads": threads, "cache_bytes": cache_bytes()}
