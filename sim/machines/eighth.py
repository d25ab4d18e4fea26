"""Sizes of the machines that the SpAtten paper compares at an eighth of its own."""

from __future__ import annotations

from sim.blocks.softmax import SoftmaxConfig
from sim.dram.hbm2 import HBM2_2GBPS
from sim.dram.spec import DramSpec

MULTIPLIERS = 64
"""Of each of the two arrays: 128 in all, as A3 has for 64 channels (SpAtten, section V)."""

MEMORY: DramSpec = HBM2_2GBPS.override(
    {
        "name": "hbm2-2gbps-2ch",
        "channels": 2,
        "mapping": (("channel", 1), *HBM2_2GBPS.mapping[1:]),
    }
)
"""64 GB/s."""

SOFTMAX = SoftmaxConfig(lanes=1, fifo_rows=1024)
"""One score a cycle, what 64 multipliers give for 64 channels; its FIFO holds as many scores as the
full machine's 128 rows of 8."""
