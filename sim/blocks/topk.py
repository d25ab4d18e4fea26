"""Top-k engine: quick-select over two FIFOs, then an order-preserving filter.

SpAtten (HPCA 2021), algorithm 2 and the architecture section: `lanes` comparators split the
selected FIFO around a random pivot into smaller and larger elements, each packed by a zero
eliminator, until the pivot is the k-th largest; a last pass over a copy of the input keeps all
larger elements and the first few equal ones. Ties keep the lowest index.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from pydantic import Field, model_validator

from workloads.config import Config
from workloads.errors import InputError
from workloads.trace import Ragged

IntArray = np.ndarray[Any, np.dtype[np.int64]]

LFSR_SEED = 0xACE1  # any nonzero 16-bit state; the register restarts with every selection
LFSR_TAPS = 0xB400  # Galois form of x^16 + x^14 + x^13 + x^11 + 1, maximal length


class TopKConfig(Config):
    """Size and pipeline of a top-k engine."""

    lanes: int = Field(16, ge=1, le=1024)
    """elements compared per cycle, a power of 2 (paper: 16)"""
    depth: int = Field(1024, ge=1)
    """longest input in elements (paper: FIFOs of 64 rows of 16)"""
    width_bits: int = Field(12, ge=1, le=48)
    """bits of an element, unsigned (paper: 12)"""
    pass_overhead_cycles: int = Field(3, ge=0)
    """cycles to decide and drain between passes (released latency model: 3)"""

    @model_validator(mode="after")
    def _lanes_fit_the_eliminator(self) -> TopKConfig:
        if self.lanes & (self.lanes - 1):
            raise ValueError(f"TopK lanes must be a power of 2, not {self.lanes}")
        return self

    @property
    def eliminator_layers(self) -> int:
        """Shift layers of a zero eliminator: log2(lanes)."""
        return self.lanes.bit_length() - 1


def topk_golden(config: TopKConfig, scores: IntArray, k: int) -> IntArray:
    """Return the indices of the k largest scores in input order; ties keep the lowest index.

    Args:
        config: the engine.
        scores: (n,) unsigned integers of `width_bits`, n <= `depth`.
        k: elements to keep; n or more keeps all.

    Raises:
        InputError: too many scores, or one outside `width_bits`.
    """
    scores = np.asarray(scores, np.int64)
    if len(scores) > config.depth:
        raise InputError(f"TopK input must hold at most {config.depth} scores, not {len(scores)}")
    top = (1 << config.width_bits) - 1
    if len(scores) and (scores.min() < 0 or scores.max() > top):
        worst = int(scores.min() if scores.min() < 0 else scores.max())
        raise InputError(f"TopK scores must be in 0..{top}, not {worst}")
    kept = np.argsort(-scores, kind="stable")[: max(k, 0)]
    return np.sort(kept)


class SelectionTiming(NamedTuple):
    """Quick-select runs of several groups of selections, flat.

    Selection j of group g took `cycles[starts[g] + j]` cycles. The filter pass comes on top: see
    `filter_cycles`. Groups with k >= n bypass the engine and take 0.
    """

    cycles: IntArray
    starts: IntArray
    passes: IntArray  # (groups,) passes of all its selections
    streamed: IntArray  # (groups,) elements that went through the comparators


def selection_timing(
    config: TopKConfig,
    operations: IntArray,
    n: IntArray,
    k: IntArray,
    scores: Ragged,
    seed: int,
) -> SelectionTiming:
    """Time groups of selections on the values that the engine sees.

    Where a group's scores are not known they are drawn: distinct, in random order. Only ranks
    matter then, so a pass costs O(1) to simulate: the pivot's rank is uniform.

    Args:
        config: the engine.
        operations, n, k: (groups,) selections, elements of each, elements kept of each.
        scores: group g's rows are `operations[g] * n[g]` unsigned integers, if given.
        seed: of the drawn ranks.

    Raises:
        InputError: n larger than the engine's depth.
    """
    if len(n) and int(n.max()) > config.depth:
        raise InputError(f"TopK input must hold at most {config.depth} scores, not {n.max()}")
    return SelectionTiming(
        *_time_groups(
            operations,
            n,
            k,
            scores.values,
            scores.offsets,
            scores.given,
            config.lanes,
            config.pass_overhead_cycles,
            np.uint64(seed),
        )
    )


def filter_cycles(config: TopKConfig, n: IntArray) -> IntArray:
    """Return the cycles of the last, order-preserving pass over copied inputs of n elements."""
    return -(-n // config.lanes) + config.pass_overhead_cycles


@njit(cache=True)
def _next_random(state: int) -> int:
    low = state & 1
    state >>= 1
    return state ^ LFSR_TAPS if low else state


@njit(cache=True)
def _time_groups(
    operations: Any,
    n: Any,
    k: Any,
    scores: Any,
    offsets: Any,
    given: Any,
    lanes: int,
    overhead: int,
    seed: Any,
) -> Any:
    groups = len(n)
    starts = np.zeros(groups + 1, np.int64)
    starts[1:] = np.cumsum(operations)
    cycles = np.zeros(starts[-1], np.int64)
    passes = np.zeros(groups, np.int64)
    streamed = np.zeros(groups, np.int64)
    longest = 1
    for group in range(groups):
        longest = max(longest, n[group])
    work = np.empty((3, longest), np.int64)
    random = seed * np.uint64(2862933555777941757) + np.uint64(3037000493)
    for group in range(groups):
        if k[group] >= n[group]:
            continue
        for operation in range(operations[group]):
            if given[group]:
                first = offsets[group] + operation * n[group]
                row = scores[first : first + n[group]]
                sizes = _select(row, k[group], work)
            else:
                random, sizes = _draw(n[group], k[group], random)
            for size in sizes:
                cycles[starts[group] + operation] += -(-size // lanes) + overhead
                streamed[group] += size
            passes[group] += len(sizes)
    return cycles, starts, passes, streamed


@njit(cache=True)
def _select(row: Any, k: int, work: Any) -> Any:
    """Return the sizes of the FIFO read in each pass of a quick-select."""
    sizes = np.empty(len(row), np.int64)
    passes = 0
    current, low, high = work[0], work[1], work[2]
    size = len(row)
    current[:size] = row
    target = k
    state = LFSR_SEED
    while True:
        state = _next_random(state)
        pivot = current[(state * size) >> 16]
        below = 0
        above = 0
        for i in range(size):
            value = current[i]
            if value < pivot:
                low[below] = value
                below += 1
            elif value > pivot:
                high[above] = value
                above += 1
        sizes[passes] = size
        passes += 1
        equal = size - below - above
        if above + equal <= target:
            target -= above + equal
            current, low = low, current
            size = below
        elif above > target:
            current, high = high, current
            size = above
        else:
            return sizes[:passes]


@njit(cache=True)
def _draw(n: Any, k: Any, random: Any) -> Any:
    """Return the generator's next state and pass sizes for distinct values in random order."""
    sizes = np.empty(n, np.int64)
    passes = 0
    size = n
    target = k
    while True:
        random = random * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        above = np.int64((random >> np.uint64(33)) % np.uint64(size))
        sizes[passes] = size
        passes += 1
        if above + 1 <= target:
            target -= above + 1
            size -= above + 1
        elif above > target:
            size = above
        else:
            return random, sizes[:passes]
