"""Where and with what a row was measured."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]


def versions(*packages: str) -> dict[str, str | None]:
    """Return the version of Python, prunesim and some packages; None: not installed."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in ("prunesim", *packages)},
    }


def commit() -> str | None:
    """Return the commit of the code, with "-changed" where files differ; None: not known."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "algos", "workloads")
    return head + ("-changed" if changed else "")


def now() -> str:
    """Return date and time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(*packages: str) -> dict[str, Any]:
    """Return versions, commit and date as columns of a row."""
    return {**versions(*packages), "commit": commit(), "date": now()}


def ask(*command: str) -> str | None:
    """Return what a program says; None where it is missing or fails."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()


def _git(*arguments: str) -> str | None:
    return ask("git", "-C", str(_ROOT), *arguments) if (_ROOT / ".git").exists() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
