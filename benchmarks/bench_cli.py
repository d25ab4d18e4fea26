"""Time of `prunesim --help` and of the whole default run, and the run's peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Measured, show

PRUNESIM = Path(sys.executable).with_name("prunesim")


def run(*arguments: str) -> float:
    """Return the seconds that one command took."""
    started = time.perf_counter()
    done = subprocess.run([PRUNESIM, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"prunesim {' '.join(arguments)} failed: {done.stderr}")
    return time.perf_counter() - started


def main() -> None:
    """Warm the caches, then measure."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/run"
        cold = run("run", "--out", out)
        warm = min(run("run", "--out", out) for _ in range(2))
        info = json.loads(Path(out, "run.json").read_text())
    run("--help")
    start = min(run("--help") for _ in range(5))
    met = show(
        "command line",
        [
            Measured("prunesim --help, best of 5", start, "s", 0.5),
            Measured("prunesim run, first (may compile kernels)", cold, "s"),
            Measured("prunesim run, warm, best of 2, with the report", warm, "s", 20),
            Measured(
                "prunesim run, peak of it and its helper", info["peak_memory_bytes"] / 1e9, "GB", 2
            ),
        ],
    )
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
