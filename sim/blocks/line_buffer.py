"""Key and value buffer of the core: one half fills while lines of another are read.

SpAtten (HPCA 2021), architecture section: double-buffered SRAM whose lines hold several rows. MSBs
and LSBs are planes of their own, so that LSBs can be added later; lines can be read without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field, model_validator

from sim.blocks.handshake import at, next_move
from workloads.config import Config


class LineBufferConfig(Config):
    """Size of a line buffer."""

    halves: int = Field(2, ge=1, le=8)
    """matrices that it holds (paper: 2, double buffering)"""
    lines: int = Field(128, ge=1)
    """lines of a half (paper: 1024 rows, 8 in a line)"""
    rows: int = Field(8, ge=1, le=64)
    """rows of a line"""
    channels: int = Field(64, ge=1)
    """elements of a row"""
    width_bits: int = Field(12, ge=2, le=16)
    """bits of an element, signed"""
    lsb_bits: int = Field(4, ge=1)
    """low bits that can be added later (paper: 4)"""

    @model_validator(mode="after")
    def _planes_fit(self) -> LineBufferConfig:
        if self.lsb_bits >= self.width_bits:
            raise ValueError(
                f"LineBuffer lsb_bits must be below width_bits, {self.width_bits}, "
                f"not {self.lsb_bits}"
            )
        return self


class Fill(NamedTuple):
    """One line written: into the matrix that is being filled, or LSBs into a half."""

    line: int
    lsb: bool
    half: int  # of LSBs
    last: bool  # of the matrix


class Read(NamedTuple):
    """One line read from the oldest matrix."""

    line: int
    full: bool  # with its LSBs
    release: bool  # nothing more is read from this matrix
    skip: bool = False  # only release: no line leaves


class BufferMoves(NamedTuple):
    """Cycles in which lines were written, asked for, and left."""

    fills: list[int]
    reads: list[int]
    outputs: list[int]


def without_lsbs(config: LineBufferConfig, values: np.ndarray) -> np.ndarray:
    """Return signed elements as they are read without their LSBs."""
    return (values >> config.lsb_bits) << config.lsb_bits


def buffer_moves(
    config: LineBufferConfig,
    fills: Sequence[Fill],
    reads: Sequence[Read],
    offer_fill: Sequence[bool],
    offer_read: Sequence[bool],
    ready: Sequence[bool],
) -> BufferMoves:
    """Return when everything moves.

    A matrix is filled from the cycle after a half was released on, and read from the cycle after
    its last line on; LSBs never wait. A line leaves the cycle after it was asked for; the next can
    be asked for in the cycle in which it leaves.

    Args:
        config: the buffer.
        fills, reads: in order.
        offer_fill, offer_read, ready: of the sources and the sink, by cycle.
    """
    state = _State(config, fills, reads)
    cycle = 0
    filling = asking = False
    while len(state.moves.reads) < len(reads) or state.waiting:
        filling = filling or (state.fill_left and at(offer_fill, cycle))
        asking = asking or (state.read_left and at(offer_read, cycle))
        filled, asked = state.step(cycle, filling, asking, at(ready, cycle))
        filling, asking = filling and not filled, asking and not asked
        cycle += 1
    while state.fill_left:
        cycle = next_move(offer_fill, cycle if not filling else 0, cycle)
        state.step(cycle, True, False, True)
        filling, cycle = False, cycle + 1
    return state.moves


class _State:
    """Which halves are full, and the line at the output."""

    def __init__(
        self, config: LineBufferConfig, fills: Sequence[Fill], reads: Sequence[Read]
    ) -> None:
        self.config, self.fills, self.reads = config, fills, reads
        self.full = 0
        self.waiting = False
        self.moves = BufferMoves([], [], [])

    @property
    def fill_left(self) -> bool:
        return len(self.moves.fills) < len(self.fills)

    @property
    def read_left(self) -> bool:
        return len(self.moves.reads) < len(self.reads)

    def step(self, cycle: int, filling: bool, asking: bool, ready: bool) -> tuple[bool, bool]:
        """Move what can move in one cycle; return whether a fill and a read did."""
        gain = loss = 0
        filled = asked = False
        if filling:
            fill = self.fills[len(self.moves.fills)]
            filled = fill.lsb or self.full < self.config.halves
            gain = filled and fill.last and not fill.lsb
        leaves = self.waiting and ready
        if asking and self.full > 0 and (leaves or not self.waiting):
            asked = True
            loss = self.reads[len(self.moves.reads)].release
        if leaves:
            self.moves.outputs.append(cycle)
        if filled:
            self.moves.fills.append(cycle)
        if asked:
            self.moves.reads.append(cycle)
        shown = asked and not self.reads[len(self.moves.reads) - 1].skip
        self.waiting = shown or (self.waiting and not leaves)
        self.full += gain - loss
        return filled, asked
