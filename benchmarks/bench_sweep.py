"""Sweeps: what the engine adds to a point, the parent's memory, 10,000 machines on one sentence.

With `--quick` only the first two, in half a minute.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from measure import Measured, show

BAR_MS = 2.0  # of the engine, for each point
BAR_S = 120.0  # 10,000 points on 2 cores
BAR_GROWTH_MB = 8.0  # of the parent, from 1,000 points to 20,000
COUNT = 20_000
SENTENCE = {"workload": "minilm-sentences", "method": "spatten", "limit": 2, "inputs": 1}
LANES = [1, 2, 4, 8, 16]
ROWS = [64, 128, 256, 512]


def constant(trace: Path, machine: Any, wanted: Sequence[str]) -> Any:
    """Stand for `evaluate`: a real row with its tables, but no simulation."""
    return _once(trace)


@lru_cache(maxsize=1)
def _once(trace: Path) -> Any:
    from sim.machines import make_machine
    from sim.sweep.evaluate import evaluate

    return evaluate(trace, make_machine("spatten"), [])


def space(points: int) -> Any:
    """Return a space of so many machines on one sentence."""
    from sim.sweep import Space

    clocks = points // (len(LANES) * len(ROWS))
    return Space.of(
        {
            **SENTENCE,
            "machine": "spatten",
            "axes": {
                "machine.value_topk.lanes": LANES,
                "rows": {
                    "set": ["machine.key_buffer.rows", "machine.value_buffer.rows"],
                    "values": ROWS,
                },
                "machine.clock_hz": {"range": [1e8, 2e9], "count": clocks},
            },
        }
    )


def run(points: int, *, simulated: bool) -> str:
    """Run a sweep in this process; return wall and CPU seconds and the peak in megabytes.

    Simulated: of all, from the start of its processes and of the model. Else of the points alone.
    """
    from reports.sweeping.traces import ModelTraces
    from sim.sweep import Processes, Sweep, work

    if not simulated:
        work.evaluate = constant
    started = time.perf_counter(), time.process_time()

    def progress(what: str, done: int, of: int) -> None:
        nonlocal started
        if not simulated and what == "points" and done == 16:  # workers have loaded everything
            started = time.perf_counter(), time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(space(points), ModelTraces(), Path(folder) / "sweep")
        done = sweep.run(Processes(2), progress=progress)
    assert done.counts == {"done": points}, done.counts
    wall = time.perf_counter() - started[0]
    cpu = time.process_time() - started[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return f"{wall} {cpu} {peak}"


def measured(points: int, kind: str) -> tuple[float, float, float]:
    """Run a sweep in a process of its own; return its wall and CPU seconds and its peak, MB."""
    done = subprocess.run(
        [sys.executable, __file__, kind, str(points)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        sys.exit(f"sweep of {points} points failed: {done.stderr}")
    wall, cpu, peak = map(float, done.stdout.split())
    return wall, cpu, peak


def main() -> None:
    """Measure each sweep in a process of its own."""
    *_, small = measured(1_000, "constant")
    wall, cpu, large = measured(COUNT, "constant")
    rows = [
        Measured(
            "engine: wall time of a point without simulation", wall / COUNT * 1e3, "ms", BAR_MS
        ),
        Measured("engine: CPU time of the parent for a point", cpu / COUNT * 1e3, "ms", BAR_MS),
        Measured("peak of the parent, 1,000 points", small, "MB"),
        Measured("peak of the parent, 20,000 points: more by", large - small, "MB", BAR_GROWTH_MB),
    ]
    if "--quick" not in sys.argv:
        wall, *_ = measured(10_000, "simulated")
        rows.append(
            Measured("10,000 points of spatten on one sentence, all in all", wall, "s", BAR_S)
        )
    sys.exit(0 if show("sweep, 2 processes", rows) else 1)


if __name__ == "__main__":
    if sys.argv[1:2] in (["constant"], ["simulated"]):
        print(run(int(sys.argv[2]), simulated=sys.argv[1] == "simulated"))
    else:
        main()
