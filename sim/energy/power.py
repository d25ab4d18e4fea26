"""Power of a run, split as the SpAtten paper splits it."""

from __future__ import annotations

from sim.result import Result

GROUPS = {"logic": "logic", "sram": "SRAM", "dram": "DRAM"}
"""Group of a constant -> name in the paper; FIFOs count as SRAM."""

_STATIC = {"sram_leakage": "SRAM", "logic_leakage": "logic"}
"""Static events by the part that leaks. The DRAM's background is no part of the paper's method,
which multiplies access counts; it is given apart."""


def power_split(result: Result) -> dict[str, float]:
    """Return W by logic, SRAM and DRAM, their total, and apart the DRAM's background.

    Args:
        result: of a machine priced by `sim.energy.tables`.
    """
    seconds = result.row["latency_ns"] * 1e-9
    split = dict.fromkeys((*GROUPS.values(), "DRAM background"), 0.0)
    energy = result.tables["energy"]
    for event, group, pj in zip(energy["event"], energy["group"], energy["energy_pj"], strict=True):
        name = GROUPS.get(group) or _STATIC.get(event, "DRAM background")
        split[name] += pj * 1e-12 / seconds
    split["total"] = sum(split[name] for name in GROUPS.values())
    return split
