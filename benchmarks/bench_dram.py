"""Reads per second of the DRAM model, queues always full: HBM2 and DDR4, in order and at random."""

from __future__ import annotations

import sys
import time

import numpy as np
from measure import Measured, show
from numpy.typing import NDArray

from sim.dram.model import Dram
from sim.dram.presets import PRESETS
from sim.dram.spec import DramSpec

BAR_PER_S = 1e6
READS = 400_000
SPAN_BYTES = 1 << 30


def reads_per_s(spec: DramSpec, addresses: NDArray[np.int64]) -> float:
    """Return the best of five runs, after one that may compile."""
    Dram(spec).stream(addresses[:1])
    times = []
    for _ in range(5):
        dram = Dram(spec)
        started = time.perf_counter()
        dram.stream(addresses)
        times.append(time.perf_counter() - started)
    return len(addresses) / min(times)


def main() -> None:
    """Time every preset on a sequential and a random stream."""
    rng = np.random.default_rng(1)
    rows = []
    for spec in PRESETS.values():
        span = SPAN_BYTES // spec.transaction_bytes
        streams = {"sequential": np.arange(READS), "random": rng.integers(0, span, READS)}
        for name, addresses in streams.items():
            rate = reads_per_s(spec, addresses)
            what = f"{name} reads of {spec.name}, {rate / 1e6:.2f} M/s"
            rows.append(Measured(what, 1e6 / rate, "us", 1e6 / BAR_PER_S))
    title = f"DRAM, time of a read, one thread, warm, best of 5; bar {BAR_PER_S / 1e6:g} M reads/s"
    sys.exit(0 if show(title, rows) else 1)


if __name__ == "__main__":
    main()
