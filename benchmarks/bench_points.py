"""Time of one machine point of a sweep: many machines on one small trace that all share.

The trace is of MiniLM-L6's shape: 72 heads and 36 matrix products, one sentence of 24 tokens, of
which SpAtten's pruning leaves a part.
"""

from __future__ import annotations

import sys
import time

from measure import Measured, show

from sim.machines import make_machine
from sim.run import simulate
from workloads.shapes import ModelShape
from workloads.synthetic import shape_trace

MINILM = ModelShape(
    name="minilm-l6",
    layers=6,
    heads=12,
    kv_heads=12,
    head_dim=32,
    hidden=384,
    intermediate=1536,
    source="configuration of all-MiniLM-L6-v2",
)
POINTS = 300
BAR_MS = {"spatten": 15.0, "dense": 15.0, "accllm-u280": 15.0}
"""10,000 points in 2 minutes on 2 cores leave 24 ms for a point and all that goes with it."""

CHANGES = {
    "spatten": "softmax.fifo_rows",
    "dense": "softmax.fifo_rows",
    "accllm-u280": "token_tile",
}
"""Field that differs from point to point: no two machines are equal."""


def main() -> None:
    """Time points of three machines, in CPU time of one core."""
    trace = shape_trace(
        MINILM,
        24,
        token_keep=[1.0, 0.9, 0.8, 0.7, 0.6, 0.5],
        k_bits=8,
        k_lsb_bits=4,
        requant_share=0.059,
    )
    rows = []
    for name, bar in BAR_MS.items():
        settings = [{CHANGES[name]: 64 * (2 + number)} for number in range(POINTS)]
        simulate(trace, make_machine(name))  # may compile
        started = time.process_time()
        for changed in settings:
            simulate(trace, make_machine(name, changed))
        spent = (time.process_time() - started) / POINTS
        rows.append(Measured(f"a point on {name}", 1e3 * spent, "ms", bar))
    sys.exit(0 if show(f"one trace, {POINTS} machines each, CPU time", rows) else 1)


if __name__ == "__main__":
    main()
