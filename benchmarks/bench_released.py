"""Time of `spatten-rtl` on GPT-2 Small's 4,608 rows and on 12,288 unpruned rows, both on the 1/8
machine, and the memory of the latter."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace

from measure import Measured, show

from reports.experiments.spatten.workloads import MEDIUM, SMALL, generation_rows, unpruned
from sim.machines import make_machine
from sim.run import simulate
from workloads.spatten_csv import SpattenCsv
from workloads.spatten_trace import to_trace

KIB = 1024


def seconds(workload: SpattenCsv, repeats: int) -> tuple[float, int]:
    """Return the best time of some runs, and the cycles."""
    trace, machine = to_trace(workload, "bench"), make_machine("spatten-rtl")
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = simulate(trace, machine)
        times.append(time.perf_counter() - started)
    return min(times), int(result.row["cycles"])


def main() -> None:
    """Compile on a few rows, then time both."""
    seconds(generation_rows(replace(SMALL, iterations=(31,))), 1)
    pruned_s, pruned_cycles = seconds(generation_rows(SMALL), 3)
    whole_s, whole_cycles = seconds(generation_rows(unpruned(MEDIUM)), 1)
    memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1e9
    rows = [
        Measured(f"4,608 rows, {pruned_cycles:,} cycles", pruned_s, "s", 1.3),
        Measured(f"12,288 rows, {whole_cycles:,} cycles", whole_s, "s", 30.0),
        Measured("peak memory", memory_gb, "GB", 1.0),
    ]
    sys.exit(0 if show("spatten-rtl, warm", rows) else 1)


if __name__ == "__main__":
    main()
