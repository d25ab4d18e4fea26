"""All DRAM devices by name."""

from __future__ import annotations

from sim.dram.ddr4 import DDR4_PRESETS
from sim.dram.hbm2 import HBM2_PRESETS
from sim.dram.spec import DramSpec
from workloads.config import unknown_name
from workloads.errors import InputError

PRESETS: dict[str, DramSpec] = {**HBM2_PRESETS, **DDR4_PRESETS}
"""All presets by name."""


def preset(name: str) -> DramSpec:
    """Return a device by name.

    Raises:
        InputError: an unknown name.
    """
    if name not in PRESETS:
        raise InputError(unknown_name("DRAM preset", name, PRESETS))
    return PRESETS[name]
