"""The DRAM of SpAtten's released test bench: HBM2 as the Ramulator 2 of 2023 models it.

mit-han-lab/spatten simulates against CMU-SAFARI/ramulator2, commit 1fb94b8: HBM2_8Gb at 2 Gb/s,
FR-FCFS, open rows, RoBaRaCoCh, one instance per channel. What decides a clock there:

- Of a clock, in this order: at most one read enters, at most one finished read leaves, then the
  memory ticks. In a tick the oldest issued read returns if its data time has come, then at most one
  command issues for both pseudo-channels.
- A read needs RD if its row is open, ACT if its bank is closed, PRE if another row is open. The
  oldest read whose command is ready goes first, whatever the command is.
- A read whose ACT was issued moves to an active list, which is looked at first. A PRE that would
  close a bank wanted there is refused, and that clock issues nothing.
- All-bank refresh is configured and never happens: it iterates over ranks, which HBM2 does not
  have.
- A read of 32 B is one RD, and two RD of a pseudo-channel are 4 clocks apart: 16 B per clock and
  channel.

The present Ramulator (2.1) has other HBM2 timings: see `sim.dram.hbm2`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.dram import ramulator2023_kernel as kernel
from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.model import Counters

Ints = NDArray[np.int64]

HBM2_RELEASED = HBM2_2GBPS.override(
    {
        "name": "hbm2-ramulator-2023",
        "channels": 1,
        "rows": 32768,
        "columns": 16,
        "n_bl": 4,
        "n_cl": 7,
        "n_rcd": kernel.ACT_TO_READ,
        "n_rp": kernel.PRE_TO_ACT,
        "n_ras": kernel.ACT_TO_PRE,
        "n_rc": kernel.ACT_TO_ACT,
        "n_rtp": kernel.READ_TO_PRE,
        "n_ccd_s": kernel.PSEUDO_READ,
        "n_ccd_l": kernel.GROUP_READ,
        "n_rrd_s": kernel.PSEUDO_ACT,
        "n_rrd_l": kernel.GROUP_ACT,
        "n_faw": kernel.FOUR_ACT,
        "act_cycles": 1,
        "refresh": False,
        "mapping": (
            ("column", 4),
            ("pseudo_channel", 1),
            ("bank_group", 2),
            ("bank", 2),
            ("row", 15),
        ),
    }
)
"""One channel of it, as data: for reports and bounds. `kernel` is what runs."""


class ReleasedDram:
    """What channels did in a run."""

    def __init__(self, channels: kernel.Channels) -> None:
        self._counts = channels.counts

    @property
    def counters(self) -> Counters:
        """Counts per channel, the last channel first: so does the release's own report."""
        counts = self._counts[::-1]
        opened = counts[:, kernel.MISSES] + counts[:, kernel.CONFLICTS]
        return Counters(
            requests=counts[:, kernel.READS].copy(),
            row_hits=counts[:, kernel.HITS].copy(),
            row_misses=counts[:, kernel.MISSES].copy(),
            row_conflicts=counts[:, kernel.CONFLICTS].copy(),
            activates=opened,
            refreshes=np.zeros(len(counts), np.int64),
            bytes=counts[:, kernel.READS] * HBM2_RELEASED.transaction_bytes,
        )


def stream(addresses: ArrayLike, outstanding: int) -> tuple[Ints, Ints]:
    """Send reads to one channel, one a clock and each as soon as it may enter.

    Args:
        addresses: (read,) byte addresses within the channel, multiples of 32.
        outstanding: most reads that are under way together, 1 to 32.

    Returns:
        (read,) clock at which each entered, and clock at which its data was there.

    Raises:
        ValueError: an impossible number of outstanding reads.
    """
    if not 1 <= outstanding <= kernel.QUEUE_DEPTH:
        raise ValueError(f"outstanding must be 1..{kernel.QUEUE_DEPTH}, not {outstanding}")
    reads = np.ascontiguousarray(addresses, np.int64)
    accepted, done = np.zeros_like(reads), np.zeros_like(reads)
    kernel.run_stream(kernel.idle_channels(1), reads, outstanding, accepted, done)
    return accepted, done
