"""Packed multiply-accumulate: two products a cycle on one DSP48E2, P = (A + D) * B + P.

AccLLM (arXiv 2505.03745) packs operands of 2, 4 and 8 bits into one DSP slice; the mode says how.
The DSP's widths (27-bit A + D, 18-bit B, 48-bit P) are those of UG579. Field positions are the
ones that fit these widths; `limit` says how many products may be summed before a lane overflows.

Two lanes leave: the low one sums `low * factor`, the high one `high * factor`, or `high * other`
in the sparse mode, where A + D holds two weights and B two activations. A borrow from the low
lane is made good by a rounding constant, half of the low lane, which P starts from instead of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from sim.blocks.handshake import Moves, at
from workloads.config import Config

BYTE, NIBBLE, SPARSE, PAIR = range(4)
"""8x8: two 8-bit weights share x; 8x4: two 4-bit codes share q; sparse 8x2: two 2-bit weights, each
with its own x; pair 8x2: one weight for x of two tokens."""

SPACING = (18, 22, 20, 19)
"""By mode: how far `high` is shifted against `low` on the pre-adder."""
LOW_BITS = (18, 22, 10, 19)
"""By mode: bits of the low lane of P."""
HIGH_FROM = (18, 22, 30, 19)
"""By mode: first bit of the high lane of P."""
OTHER_SHIFT = 10
"""How far `other` is shifted against `factor` on B; the low lane of the sparse mode is as wide."""
LANE_BITS = max(LOW_BITS)
P_BITS = 48

PARTS = ((127, 127), (15, 127), (3, 127), (127, 3))
"""By mode: largest magnitudes of (`low` and `high`, their factors). -128 would not fit."""
UNSIGNED_LIMIT = 548
"""Sums of the 8x4 mode when the factor is an unsigned byte, up to 255."""


class PackedMacConfig(Config):
    """Form of a packed multiply-accumulate."""

    lane_bits: int = Field(LANE_BITS, ge=11, le=LANE_BITS)
    """bits of a lane that leave; sums that need more are cut. 22 hold all, of up to `limit`"""
    primitive: bool = False
    """the DSP48E2 of the vendor's library; else its behaviour, for simulation and other targets"""
    mode: Literal["all", "8x8", "8x4", "8x2-sparse", "8x2-pair"] = "all"
    """the one mode that is built; the mode of items is not looked at then"""

    @property
    def modes(self) -> tuple[int, ...]:
        """The modes that are built."""
        names = ("8x8", "8x4", "8x2-sparse", "8x2-pair")
        return (names.index(self.mode),) if self.mode != "all" else (BYTE, NIBBLE, SPARSE, PAIR)

    @property
    def latency_cycles(self) -> int:
        """Registers from operands to lanes: operands, pre-adder, product, sum."""
        return MAC_LATENCY_CYCLES


MAC_LATENCY_CYCLES = 4


@dataclass(frozen=True)
class MacItem:
    """Operands of one product in each lane, and whether they begin and end a sum.

    `low`, `high`: weights (8x8, signed 8 bits), codes (8x4, 0..15; sparse, 0..3), activations of
    two tokens (pair). `factor`: activation, or weight 0..3 (pair); 8x4 also takes 0..255. `other`:
    activation of the high lane in the sparse mode, in which every item is first and last.
    """

    mode: int
    low: int
    high: int
    factor: int
    other: int = 0
    first: bool = True
    last: bool = True


def limit(mode: int, unsigned: bool = False) -> int:
    """Return how many products a lane can sum, whatever they are.

    Args:
        mode: BYTE, NIBBLE, SPARSE or PAIR.
        unsigned: the factors of NIBBLE are unsigned bytes, not in -127..127.
    """
    part, factor = PARTS[mode]
    largest = part * (255 if unsigned else factor)
    return ((1 << (LOW_BITS[mode] - 1)) - 1) // largest


def packed_operands(mode: int, low: Any, high: Any, factor: Any, other: Any = 0) -> tuple[Any, Any]:
    """Return (A + D, B) of one product in each lane; integers or arrays of them."""
    return low + high * (1 << SPACING[mode]), factor + other * (1 << OTHER_SHIFT)


def packed_lanes(mode: int, total: Any) -> tuple[Any, Any]:
    """Return (low, high) lane of P, the sum of (A + D) * B; an integer or an array of them."""
    half, start = 1 << (LOW_BITS[mode] - 1), HIGH_FROM[mode]
    low = ((total + half) & (2 * half - 1)) - half
    return low, (total >> start) + ((total >> (start - 1)) & 1)


def mac_golden(items: Sequence[MacItem], lane_bits: int = LANE_BITS) -> list[tuple[int, int]]:
    """Return (low, high) of each sum, by plain products, cut to signed `lane_bits`."""
    found, low, high = [], 0, 0
    for item in items:
        if item.first:
            low = high = 0
        low += item.low * item.factor
        high += item.high * (item.other if item.mode == SPARSE else item.factor)
        if item.last:
            found.append((signed(low, lane_bits), signed(high, lane_bits)))
    return found


def signed(value: int, bits: int) -> int:
    """Return the low bits of a value as two's complement."""
    half = 1 << (bits - 1)
    return ((value + half) & (2 * half - 1)) - half


def mac_moves(
    lasts: Sequence[bool], latency_cycles: int, offer: Sequence[bool], ready: Sequence[bool]
) -> Moves:
    """Return when items enter a pipeline that sums them, and when sums leave.

    The pipeline stands still as a whole while a sum waits at its end; items that are not the last
    of a sum do not leave.

    Args:
        lasts: whether each item ends a sum.
        latency_cycles: registers from an item to its sum.
        offer, ready: of the source and the sink, by cycle.
    """
    stages = [False] * latency_cycles  # which hold a sum's last item
    moves, offering, cycle = Moves([], []), False, 0
    while len(moves.emitted) < sum(lasts):
        entered = len(moves.accepted)
        offering = offering or (entered < len(lasts) and at(offer, cycle))
        leaves = stages[-1] and at(ready, cycle)
        if leaves:
            moves.emitted.append(cycle)
        if leaves or not stages[-1]:
            stages = [offering and bool(lasts[entered]), *stages[:-1]]
            if offering:
                moves.accepted.append(cycle)
                offering = False
        cycle += 1
    return moves
