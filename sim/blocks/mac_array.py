"""The packed multiply-accumulates of an engine: many of them in one mode, in step.

AccLLM's reconfigurable computing engine (arXiv 2505.03745) works in one mode at a time, so what
starts and ends sums is shared by all DSP slices. Timing is that of one of them (`mac_moves`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field

from sim.blocks.packed_mac import LANE_BITS, MAC_LATENCY_CYCLES, MacItem, mac_golden
from workloads.config import Config


class MacArrayConfig(Config):
    """Size of an array of packed multiply-accumulates."""

    dsps: int = Field(64, ge=1)
    """DSP slices; 64 take the groups of a beat of 64 B"""
    lane_bits: int = Field(LANE_BITS, ge=11, le=LANE_BITS)
    """bits of a lane that leave; sums that need more are cut"""
    primitive: bool = False
    """the DSP48E2 of the vendor's library; else its behaviour, for simulation and other targets"""

    @property
    def latency_cycles(self) -> int:
        """Registers from operands to lanes."""
        return MAC_LATENCY_CYCLES


class Operands(NamedTuple):
    """What one DSP multiplies: see `MacItem`."""

    low: int
    high: int
    factor: int
    other: int = 0


@dataclass(frozen=True)
class ArrayItem:
    """Operands of all DSPs, and what they share."""

    mode: int
    operands: Sequence[Operands]
    first: bool = True
    last: bool = True


def array_golden(config: MacArrayConfig, items: Sequence[ArrayItem]) -> list[list[tuple[int, int]]]:
    """Return (low, high) of each DSP for each sum."""
    by_dsp = []
    for dsp in range(config.dsps):
        own = [
            MacItem(item.mode, *item.operands[dsp], first=item.first, last=item.last)
            for item in items
        ]
        by_dsp.append(mac_golden(own, config.lane_bits))
    return [list(lanes) for lanes in zip(*by_dsp, strict=True)]
