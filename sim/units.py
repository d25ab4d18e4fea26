"""Units: decimal and binary sizes, and power as energy per clock."""

from __future__ import annotations

GB = 10**9
"""Decimal gigabyte, bytes: the unit of bandwidths."""

GIB = 2**30
"""Binary gigabyte, bytes: the unit of memory capacities."""

GHZ = 10**9
"""Hertz."""

PJ_PER_J = 10**12
"""Picojoules in a joule."""


def pj_per_cycle(power_w: float, clock_hz: float) -> float:
    """Return the energy in pJ that a steady power in W costs in one clock."""
    return power_w * PJ_PER_J / clock_hz
