"""Steady rates of an HBM pseudo-channel: the cycle-level DRAM model, run once for each pattern.

Both pseudo-channels of a channel run the pattern, as they share its command buses. A port takes
one beat of 64 B a machine cycle.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from sim.dram.model import Dram
from sim.dram.spec import DramSpec
from sim.machines.decoder.design import KvBlock, Stream
from workloads.packed import BEAT_BYTES

IntArray = np.ndarray[Any, np.dtype[np.int64]]

INTERVALS = 16
"""Refresh intervals of the stretch over which a rate is taken."""

PORT_CYCLES = 20
"""From the machine's request to the DRAM and back, at 225 MHz. Estimate: Shuhai (arXiv
2005.04324) measures about 122 ns for a closed page on a U280, of which the DRAM needs 32."""

_HEAD_BYTES = 1 << 20  # distance of two heads' blocks: other rows


@lru_cache
def weight_stream(dram: DramSpec, clock_hz: float) -> Stream:
    """Return the rate of neighbouring beats."""
    per_beat = BEAT_BYTES // dram.transaction_bytes
    count = _clocks(dram) // dram.n_bl // per_beat
    return _run(dram, clock_hz, np.arange(count, dtype=np.int64))


@lru_cache
def kv_stream(dram: DramSpec, clock_hz: float, block: KvBlock, blocks: int = 16) -> Stream:
    """Return the rate of heads of `blocks` blocks each.

    A head's beats come in the order of the fused attention: metadata and K of block 0, of block
    1, V of block 0, metadata and K of block 2, V of block 1 and so on.
    """
    per_beat = BEAT_BYTES // dram.transaction_bytes
    head = _head_order(block, blocks)
    heads = -(-_clocks(dram) // dram.n_bl // per_beat // len(head))
    stride = -(-blocks * block.beats * BEAT_BYTES // _HEAD_BYTES) * _HEAD_BYTES // BEAT_BYTES
    beats = head[None, :] + stride * np.arange(heads)[:, None]
    return _run(dram, clock_hz, beats.reshape(-1))


def _head_order(block: KvBlock, blocks: int) -> IntArray:
    starts = block.beats * np.arange(blocks)
    keys = starts[:, None] + np.arange(block.metadata + block.keys)
    values = starts[:, None] + block.metadata + block.keys + np.arange(block.values)
    parts = [keys[0]]
    for at in range(1, blocks):
        parts += [keys[at], values[at - 1]]
    return np.concatenate([*parts, values[-1]]).astype(np.int64)


def _clocks(dram: DramSpec) -> int:
    """Clocks that a recorded run lasts at least, if every one were used."""
    return (INTERVALS + 3) * dram.n_refi


def _run(dram: DramSpec, clock_hz: float, beats: IntArray) -> Stream:
    channel = tuple(part for part in dram.mapping if part[0] != "channel")
    one = dram.override({"channels": 1, "mapping": channel})
    half = one.transactions // one.pseudo_channels
    per_beat = BEAT_BYTES // dram.transaction_bytes
    own = (beats[:, None] * per_beat + np.arange(per_beat)).reshape(-1) % half
    addresses = (own[:, None] + half * np.arange(one.pseudo_channels)).reshape(-1)
    model = Dram(one)
    done = np.sort(model.stream(addresses, sends_per_cycle=1).done)
    first = one.n_refi
    last = first + INTERVALS * one.n_refi
    moved = int(((done > first) & (done <= last)).sum()) // one.pseudo_channels // per_beat
    clocks_per_cycle = Fraction(1e9 / dram.t_ck_ns / clock_hz).limit_denominator(1000)
    cycles = Fraction(last - first) / clocks_per_cycle
    rate = min(Fraction(moved) / cycles, Fraction(1))
    counters = model.counters
    return Stream(
        beats=rate.numerator,
        cycles=rate.denominator,
        latency_cycles=PORT_CYCLES + -(-int(done[0]) * clocks_per_cycle.denominator
                                       // clocks_per_cycle.numerator),
        accesses=int(counters.requests.sum()),
        row_hits=int(counters.row_hits.sum()),
        activates=int(counters.activates.sum()),
    )  # fmt: skip
