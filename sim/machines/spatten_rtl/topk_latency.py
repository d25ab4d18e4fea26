"""How long the released test bench lets the top-k stand-in wait: quick-select on random numbers.

mit-han-lab/spatten, sim/TopKLatencyModel.scala. Each request draws its numbers from one generator,
so a file's latencies follow from its rows: `facts`, B3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.machines.spatten_rtl.java_random import next_below, next_int, seeded

Ints = NDArray[np.int64]

SEED = 1
PASS_OVERHEAD_CYCLES = 3


@njit(cache=True)
def topk_latency_cycles(sizes: Ints, targets: Ints, lanes: int) -> Any:
    """Return each selection's cycles, in the order in which they draw.

    A selection of no elements is skipped: it draws nothing and takes no time.

    Args:
        sizes: (selection,) elements to choose from.
        targets: (selection,) rank, from 0, of the element that is searched.
        lanes: elements compared in one cycle.
    """
    state = seeded(SEED)
    cycles = np.zeros(sizes.size, np.int64)
    most = sizes.max() if sizes.size else 0
    values, kept = np.empty(most, np.int64), np.empty(most, np.int64)
    for i in range(sizes.size):
        count, target = sizes[i], targets[i]
        for j in range(count):
            state, values[j] = next_int(state)
        while count > 0:
            cycles[i] += (count + lanes - 1) // lanes + PASS_OVERHEAD_CYCLES
            state, at = next_below(state, count)
            pivot = values[at]
            less = equal = 0
            for j in range(count):
                less += values[j] < pivot
                equal += values[j] == pivot
            if less <= target < less + equal:
                break
            upper = less <= target
            if upper:
                target -= less + equal
            left = 0
            for j in range(count):
                if (values[j] > pivot) if upper else (values[j] < pivot):
                    kept[left] = values[j]
                    left += 1
            values, kept = kept, values
            count = left
    return cycles
