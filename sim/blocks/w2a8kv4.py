"""The W2A8KV4 engine: 2:4 sparse W2 weights times A8 activations, on packed DSP slices.

After AccLLM (arXiv 2505.03745): one array of DSP slices multiplies vectors (decode: each product
its own weight, 2:4 sparse) and matrices (prefill: each weight serves two tokens). The engine is one
of the 32 HBM pseudo-channels' share of the machine: a beat of memory a cycle holds a group of as
many output rows as there are units of 16 DSP slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from sim.blocks.group_dequant import GroupDequantConfig, scale_integer
from sim.blocks.packed_mac import MAC_LATENCY_CYCLES
from workloads.config import Config
from workloads.errors import InputError

GROUP = 64
"""Inputs of a group of weights, which a unit takes in a cycle."""
UNIT_DSPS = GROUP // 4
"""DSP slices of a unit: one a quad."""
MOST = 127
"""Largest magnitude of an activation."""

Array = np.ndarray[Any, Any]


class W2A8KV4EngineConfig(Config):
    """Size of an engine."""

    dsps: int = Field(64, ge=UNIT_DSPS, multiple_of=UNIT_DSPS)
    """packed DSP slices; 64 take a beat of 64 B a cycle"""
    lines: int = Field(256, ge=1)
    """lines of 64 activations, for each of two tokens"""
    pairs: int = Field(32, ge=1, le=128)
    """pairs of tokens whose sums are under way at once, in matrix mode"""
    primitive: bool = False
    """the DSP48E2 of the vendor's library; else its behaviour, for simulation and other targets"""

    @property
    def units(self) -> int:
        """Units, each of which multiplies a group of one output row."""
        return self.dsps // UNIT_DSPS

    @property
    def dequant(self) -> GroupDequantConfig:
        """Each unit's dequantizer."""
        return GroupDequantConfig(inputs=GROUP, tokens=2 * self.pairs)

    @property
    def tree_levels(self) -> int:
        """Levels of the adder tree of a unit."""
        return UNIT_DSPS.bit_length() - 1

    @property
    def latency_cycles(self) -> int:
        """Registers from a step to its sums: line, selector, DSP, tree, token, dequantizer."""
        stages = MAC_LATENCY_CYCLES + self.tree_levels + self.dequant.latency_cycles
        return 1 + 1 + stages + 1


@dataclass(frozen=True)
class Linear:
    """A matrix of weights times activations.

    Attributes:
        activations: (tokens, inputs) in -127..127; vector mode: one token, matrix: an even number.
        codes: (rows, inputs / 2) 0..3 of the kept weights.
        positions: (rows, inputs / 2) 0..3 of each in its quad, ascending.
        scales: (rows, groups) FP16 as 16 bits.
        zeros: (rows, groups) 0..3.
    """

    activations: Array
    codes: Array
    positions: Array
    scales: Array
    zeros: Array

    @property
    def matrix(self) -> bool:
        """Whether it runs in matrix mode."""
        return len(self.activations) > 1

    @property
    def groups(self) -> int:
        """Groups of a row."""
        return int(self.activations.shape[1]) // GROUP

    @property
    def pairs(self) -> int:
        """Pairs of tokens; 1 in vector mode."""
        return max(len(self.activations) // 2, 1)


def check_linear(config: W2A8KV4EngineConfig, given: Linear, layer: str = "the matrix") -> None:
    """Refuse what an engine cannot run.

    Raises:
        InputError: a size or an activation out of range; the sentence names `layer`.
    """
    tokens, inputs = given.activations.shape
    if inputs % GROUP:
        raise InputError(f"{layer}: inputs must be a multiple of {GROUP}, not {inputs}")
    if len(given.codes) % config.units:
        raise InputError(
            f"{layer}: rows must be a multiple of {config.units}, not {len(given.codes)}"
        )
    if tokens > 1 and (tokens % 2 or tokens > 2 * config.pairs):
        raise InputError(
            f"{layer}: tokens must be 1 or an even number of at most {2 * config.pairs}, "
            f"not {tokens}"
        )
    if given.pairs * given.groups > config.lines:
        raise InputError(
            f"{layer}: activations must be at most {config.lines} lines of {GROUP}, "
            f"not {given.pairs * given.groups}"
        )
    largest = int(np.abs(given.activations.astype(np.int64)).max())
    if largest > MOST:
        raise InputError(f"{layer}: activations must be in -{MOST}..{MOST}, not {largest}")


def linear_golden(given: Linear) -> Array:
    """Return (tokens, rows) int64, exact sums in units of 2^-24: x @ ((q - z) * S).T.

    Raises:
        InputError: a scale out of range.
    """
    rows, kept = given.codes.shape
    scales = np.vectorize(scale_integer, otypes=[np.int64])(given.scales)
    each = kept // given.groups
    weights = given.codes.astype(np.int64) - np.repeat(given.zeros.astype(np.int64), each, 1)
    weights *= np.repeat(scales, each, 1)
    dense = np.zeros((rows, 2 * kept), np.int64)
    columns = np.arange(kept) // 2 * 4 + given.positions
    np.put_along_axis(dense, columns.astype(np.int64), weights, 1)
    sums: Array = given.activations.astype(np.int64) @ dense.T
    return sums


def linear_outputs(config: W2A8KV4EngineConfig, given: Linear) -> list[list[int]]:
    """Return the engine's outputs in order, `units` sums each.

    Blocks of `units` rows follow each other; in a block, tokens.
    """
    sums = linear_golden(given)
    found = []
    for row in range(0, sums.shape[1], config.units):
        found += sums[:, row : row + config.units].tolist()
    return found
