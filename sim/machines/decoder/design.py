"""A decoder machine as numbers: all that lowering and timing ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from workloads.packed import BEAT_BYTES, KvFormat

IntArray = np.ndarray[Any, np.dtype[np.int64]]


class Stream(NamedTuple):
    """What one pseudo-channel gives while it streams, and what its DRAM does for that."""

    beats: int  # in `cycles` machine cycles, steadily
    cycles: int
    latency_cycles: int  # from a request to its first beat
    accesses: int  # DRAM transactions of the recorded stretch
    row_hits: int
    activates: int

    @property
    def efficiency(self) -> float:
        """Share of the cycles in which a beat comes."""
        return self.beats / self.cycles


class Product(NamedTuple):
    """Weights of one kind of matrix, as a trace offers them."""

    operator: str
    k: int  # inputs
    n: int  # outputs
    weight_bits: int
    pattern_n: int  # of an n:m pattern; 0: none
    pattern_m: int


@dataclass(frozen=True)
class Stored:
    """A matrix in memory, and what multiplying with it takes."""

    weight_bits: int  # of a code
    share: float  # of the weights that are stored and multiplied
    useful_bits: int  # codes, indices and metadata
    beats: int  # as it is streamed
    multiplications: int  # for one token
    vector_cycles: int  # of the engine, for one token
    matrix_cycles: int  # of the engine, for a full tile of tokens
    tiles: int  # pieces in which it is fetched


@dataclass(frozen=True, kw_only=True)
class Design:
    """Rates, sizes and latencies; lines are one beat on every channel of a kind."""

    weight_channels: int
    kv_channels: int
    shared: bool  # weights and KV cache share the channels
    striped_heads: bool  # a head's blocks lie in all KV channels, else in one
    weights: Stream
    kv: Stream
    slots: int  # tiles that a weight or KV buffer holds
    kv_tile_lines: int  # lines of a tile of the KV cache
    buffer_beats_per_cycle: int  # that the engine can take from the buffer of one channel
    token_tile: int  # tokens of a tile in a prefill
    token_latency_cycles: int  # from the last logit to the next token's embedding
    runs_ahead: bool  # fetches pass the end of an operator
    whole_tiles: bool  # the engine waits for the last beat of a tile
    separate_operators: bool  # each operator waits for the one before, also on the same input
    spill_bytes: int  # of an input channel of a prefill's token, between two layers, in DDR
    spill_bytes_per_cycle: float
    channel_bytes: int  # capacity of a pseudo-channel

    def kv_lines(self, beats: IntArray, kv_heads: IntArray) -> IntArray:
        """Return the lines of `kv_heads` heads that have `beats` beats each."""
        if self.striped_heads:
            striped: IntArray = -(-beats * kv_heads // self.kv_channels)
            return striped
        in_turn: IntArray = -(-kv_heads // self.kv_channels) * beats
        return in_turn


class KvBlock(NamedTuple):
    """Beats of a block of tokens of one head."""

    metadata: int
    keys: int
    values: int

    @property
    def beats(self) -> int:
        """All of them."""
        return self.metadata + self.keys + self.values


BLOCK_TOKENS = 64
"""Tokens of a block of the KV cache."""


def kv_block(form: KvFormat, channels: int, tokens: int = BLOCK_TOKENS) -> KvBlock:
    """Return the beats of `tokens` tokens of one head: metadata, then K, then V."""
    beat_bits = 8 * BEAT_BYTES
    elements = -(-tokens * channels * form.bits // beat_bits)
    metadata = form.vector_bits(channels) - channels * form.bits
    return KvBlock(-(-2 * tokens * metadata // beat_bits), elements, elements)


class Forms(NamedTuple):
    """How K and V are stored."""

    low: KvFormat  # where the trace's bits allow it
    high: KvFormat

    def of(self, bits: int) -> KvFormat:
        """Return the format of K and V that the trace gives `bits` bits."""
        return self.low if bits <= self.low.bits else self.high


class Costs(Protocol):
    """What lowering asks of a machine. Cycles are the engine's unless said otherwise."""

    @property
    def design(self) -> Design:
        """Rates, sizes and latencies."""

    @property
    def forms(self) -> Forms:
        """How K and V are stored."""

    @property
    def has_window(self) -> bool:
        """Whether keys outside the window of sinks and recent tokens are dropped."""

    def stored(self, product: Product, name: str) -> Stored:
        """Return how a matrix lies in memory; `name` is the matrix's in an error's sentence."""

    def wait_cycles(self, place: IntArray, width: IntArray, tokens: IntArray) -> IntArray:
        """Return the cycles before products begin: inputs of `width` are normalised, quantised.

        Args:
            place: in `program.OPERATORS`.
            width: inputs of a token.
            tokens: that are computed together.
        """

    def latency_cycles(self, width: IntArray, tokens: IntArray) -> IntArray:
        """Return the cycles after products end until their outputs of `width` are there."""

    def attention_wait_cycles(self, head_dim: IntArray, heads: IntArray, tokens: int) -> IntArray:
        """Return the cycles before attention begins."""

    def attention_latency_cycles(
        self, head_dim: IntArray, heads: IntArray, tokens: int
    ) -> IntArray:
        """Return the cycles after attention ends until its outputs are there."""

    def attention_cycles(self, scores: IntArray, head_dim: IntArray, heads: IntArray) -> IntArray:
        """Return the cycles of one query of all heads; `scores` are summed over the heads."""

    def tile_cycles(self, scores: int, head_dim: int) -> int:
        """Return the cycles of a tile of queries of a prefill; `scores` over all of them."""
