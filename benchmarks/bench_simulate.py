"""Time of `simulate` on BERT-Base: 12 layers, 12 heads, 384 tokens, 55,296 queries unpruned."""

from __future__ import annotations

import sys
import time

from measure import Measured, show

from sim.machines import make_machine
from sim.run import simulate
from workloads.shapes import SHAPES
from workloads.synthetic import shape_trace
from workloads.trace import Trace

BAR_S = 1.0
LAYERS = 12


def warm_seconds(trace: Trace, machine: str) -> tuple[float, int]:
    """Return the best time of three after one run that may compile, and the queries run."""
    configured = make_machine(machine)
    result = simulate(trace, configured)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        simulate(trace, configured)
        times.append(time.perf_counter() - started)
    return min(times), int(result.row["queries"])


def main() -> None:
    """Time the unpruned and a pruned trace on both machines."""
    shape = SHAPES["bert-base"]
    keep = [1.0, 1.0, *(0.95 - 0.05 * layer for layer in range(LAYERS - 2))]
    traces = {
        "unpruned": shape_trace(shape, 384),
        "pruned": shape_trace(
            shape,
            384,
            token_keep=keep,
            value_keep=0.5,
            requant_share=0.059,
            k_bits=8,
            k_lsb_bits=4,
            v_bits=8,
        ),
    }
    rows = []
    for machine in ("spatten", "dense"):
        for name, trace in traces.items():
            seconds, queries = warm_seconds(trace, machine)
            rows.append(
                Measured(f"{name} trace on {machine}, {queries:,} queries", seconds, "s", BAR_S)
            )
    sys.exit(0 if show("simulate, warm, best of 3", rows) else 1)


if __name__ == "__main__":
    main()
