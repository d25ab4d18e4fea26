"""Which rows the released RTL fetches: its index ROM, filled at random when it is generated.

mit-han-lab/spatten, SpAttenController.scala (score_buf). Line i holds as many sorted picks as there
are fetch lanes, out of twice as many rows from row i * lanes on. Every request reads the same
lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.machines.spatten_rtl.java_random import next_below, seeded

Ints = NDArray[np.int64]

SEED = 1


def index_rom(lines: int, lanes: int, rows_per_line: int) -> Ints:
    """Return (2, lines, lanes) row numbers: as K is fetched, and as V is.

    V's are the same, rotated by one score beat within a line: the release reloads the indices with
    a counter that has already moved on.
    """
    state = seeded(SEED)
    rom = np.zeros((2, lines, lanes), np.int64)
    for line in range(lines):
        picks = list(range(2 * lanes))
        for end in range(2 * lanes, 1, -1):  # scala.util.Random.shuffle: from the end
            state, other = next_below(state, end)
            picks[end - 1], picks[other] = picks[other], picks[end - 1]
        rom[0, line] = np.sort(picks[:lanes]) + line * lanes
    rom %= lines * rows_per_line
    rom[1] = np.roll(rom[0], -rows_per_line, axis=1)
    return rom


def lane_places(lanes: int) -> Ints:
    """Return (3, 3, lanes): row * 8 + transaction that a lane fetches.

    First axis: transactions of a row, less 1; second: fragment of the split request. The fetcher
    deals the transactions of a line's rows to the lanes one after another.
    """
    parts = np.arange(1, 4)[:, None, None]
    flat = np.arange(lanes) + lanes * np.arange(3)[:, None]
    return (flat // parts) * 8 + flat % parts
