"""AccLLM on an Alveo U280 (Liang et al., arXiv 2505.03745; IEEE TVLSI 34(4), 2026).

2:4 pruning, 2-bit weights, 8-bit activations, 4-bit KV cache and a window of sinks and recent
tokens, on a reconfigurable engine of DSP48E2. The paper gives no array dimensions, no channel map
and no buffer sizes; where this file says estimate, it is one.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sim.machines.decoder.design import Design, Forms, IntArray, Product, Stored, kv_block
from sim.machines.decoder.machine import DECODER_FIDELITY, DecoderMachine
from sim.machines.decoder.memory import kv_stream, weight_stream
from sim.machines.decoder.offers import KV_PRECISION, PATTERN, PRECISION, WINDOW
from workloads.config import Config
from workloads.packed import KEPT, QUAD, KvFormat, WeightFormat

_TILE_LINES = 64  # of a fetch: 4 KB from each pseudo-channel, far above the 512 B that rows need
_HEAD_CHANNELS = 128  # of a head, for the blocks whose rate is recorded
_SPILL_BYTES = 4  # FP16 residual, written and read
_DDR_BYTES_PER_S = 38e9  # both DDR4 DIMMs of a U280 (AMD DS963)


class EngineConfig(Config):
    """The reconfigurable computing engine."""

    vector_dsps: int = Field(2048, ge=1)
    """DSPs that work on one token: 64 for each pseudo-channel take a beat of 4 groups (estimate:
    the published gain of packing needs a decode that is compute-bound without it)"""
    matrix_dsps: int = Field(4096, ge=1)
    """DSPs that work on a tile of tokens (estimate: of 4497 published, the rest is nonlinear)"""
    latency_cycles: int = Field(24, ge=0)
    """last operand to last result: selector, DSP, adder tree, scale, accumulator (estimate)"""
    attention_latency_cycles: int = Field(96, ge=0)
    """the same through the fused pipeline: two products, exp, block scale, division (estimate)"""


class NonlinearConfig(Config):
    """Exponentials, normalisation, SiLU, rotary embedding, residuals, quantisation."""

    exp_lanes: int = Field(32, ge=1)
    """exponentials a cycle: one for each pseudo-channel, as many as 8192 MAC make scores of 128
    channels (estimate)"""
    lanes: int = Field(32, ge=1)
    """elements a cycle of everything else: 4497 - 4096 published DSPs leave 12 for each of 32
    lanes, a normalising multiplier and an FP16 multiply-add (estimate)"""
    latency_cycles: int = Field(40, ge=0)
    """of a pass, with its reciprocal or root (estimate)"""
    token_cycles: int = Field(120, ge=0)
    """last logit to the next token's embedding: two DDR4 bursts of 8 KB at 38 GB/s and their
    latency (estimate)"""


class BufferConfig(Config):
    """Weight or KV buffer of one pseudo-channel: 16 URAM of 4096 x 72 bit."""

    banks: int = Field(2, ge=2)
    """ping-pong banks, each with a write and a read port"""
    bank_beats: int = Field(4096, ge=_TILE_LINES)
    """beats of 64 B of a bank"""


class AccLlm(DecoderMachine):
    """AccLLM on an Alveo U280."""

    name: ClassVar[str] = "accllm-u280"
    description: ClassVar[str] = (
        "AccLLM (arXiv 2505.03745) on an Alveo U280: 2:4 pruned 2-bit weights, 4-bit KV cache, "
        "window attention, packed DSPs, 225 MHz"
    )

    engine: EngineConfig = EngineConfig()
    """multipliers"""
    nonlinear: NonlinearConfig = NonlinearConfig()
    """nonlinear unit"""
    buffers: BufferConfig = BufferConfig()
    """on-chip buffers"""
    weights: WeightFormat = WeightFormat()
    """how weights of few bits are stored (paper: 2 bits, groups of 64, 2:4)"""
    kv: KvFormat = KvFormat()
    """how K and V of few bits are stored (paper: 4 bits, a scale for each token and head)"""
    head_bits: Literal[2, 8, 16] = 8
    """bits of the output layer's weights, which are not pruned"""
    weight_channels: int = Field(24, ge=1, le=32)
    """pseudo-channels that hold weights, the others the KV cache; 32: all hold both (estimate:
    FlightLLM feeds its weight buffers from 8 for each of 3 SLRs)"""
    token_tile: int = Field(64, ge=1)
    """tokens that share a weight in a prefill (estimate)"""
    dsp_packing: bool = True
    """two products in a DSP; false: one"""
    sparse_selector: bool = True
    """2:4 weights are stored and multiplied without their zeros; false: dense"""
    low_bit_weights: bool = True
    """weights of few bits are stored so; false: 8 bits and a scale for each row"""
    low_bit_kv: bool = True
    """K and V of few bits are stored so; false: 8 bits"""
    window: bool = True
    """keys outside sinks and recent tokens are dropped; false: all stay"""

    @model_validator(mode="after")
    def _tile_is_blocks(self) -> Self:
        if self.token_tile % 64:
            raise ValueError(
                f"AccLlm token_tile must be a multiple of 64, the keys of a block, "
                f"not {self.token_tile}"
            )
        return self

    @property
    def exploits(self) -> frozenset[str]:
        kinds = {
            PATTERN: self.sparse_selector,
            PRECISION: self.low_bit_weights,
            KV_PRECISION: self.low_bit_kv,
            WINDOW: self.window,
        }
        return frozenset(kind for kind, used in kinds.items() if used)

    @property
    def multipliers(self) -> int:
        return self.engine.matrix_dsps * self._per_dsp

    @property
    def fidelity(self) -> tuple[str, ...]:
        weights, kv = self.design.weights, self.design.kv
        share = weights.efficiency * self.design.weight_channels / 32
        return (
            "The published 164 token/s are themselves a cycle-accurate simulation. The paper's "
            "channel map, array sizes and buffers are not known: 24 of 32 pseudo-channels for "
            "weights, 2048 DSPs on one token and 4096 on a tile are assumed.",
            "HBM efficiency comes from the DRAM model: neighbouring beats of weights reach "
            f"{weights.efficiency:.3f} of a pseudo-channel's peak, blocks of the KV cache "
            f"{kv.efficiency:.3f}; with the channels that hold weights that is {share:.2f} of the "
            "card's 460.8 GB/s for weights. weight_channels=32 would give "
            f"{weights.efficiency:.2f}, about a quarter more tokens than published.",
            "Weights of at most as many bits as `weights` are stored so, all others in 8 bits "
            "with a scale for each row; K and V likewise. Activations have 8 bits.",
            "Nonlinear passes read a vector once; their lanes and all latencies are estimates.",
            "Blocks of 64 tokens of a head lie in one pseudo-channel; heads go round the channels.",
            *DECODER_FIDELITY,
        )

    @property
    def _per_dsp(self) -> int:
        return 2 if self.dsp_packing else 1

    @property
    def design(self) -> Design:
        shared = self.weight_channels == 32
        block = kv_block(self.forms.low, _HEAD_CHANNELS)
        return Design(
            weight_channels=self.weight_channels,
            kv_channels=32 if shared else 32 - self.weight_channels,
            shared=shared,
            striped_heads=False,
            weights=weight_stream(self.dram, self.clock_hz),
            kv=kv_stream(self.dram, self.clock_hz, block),
            slots=self.buffers.banks * self.buffers.bank_beats // _TILE_LINES,
            kv_tile_lines=_TILE_LINES,
            buffer_beats_per_cycle=self.buffers.banks,
            token_tile=self.token_tile,
            token_latency_cycles=self.nonlinear.token_cycles,
            runs_ahead=True,
            whole_tiles=False,
            separate_operators=False,
            spill_bytes=_SPILL_BYTES,
            spill_bytes_per_cycle=_DDR_BYTES_PER_S / self.clock_hz,
            channel_bytes=self.dram.capacity_bytes // 32,
        )

    @property
    def forms(self) -> Forms:
        high = KvFormat(bits=8, zero_bits=0)
        return Forms(self.kv if self.low_bit_kv else high, high)

    @property
    def has_window(self) -> bool:
        return self.window

    def weight_format(self, product: Product) -> WeightFormat:
        """Return how a matrix is stored."""
        if product.operator == "head":
            if self.head_bits == self.weights.bits:
                return self.weights.override({"sparse": False})
            return WeightFormat(bits=self.head_bits, sparse=False, group=0, zero_bits=0)
        sparse = self.sparse_selector and (product.pattern_n, product.pattern_m) == (KEPT, QUAD)
        if self.low_bit_weights and product.weight_bits <= self.weights.bits:
            return self.weights.override({"sparse": sparse and self.weights.sparse})
        return WeightFormat(bits=8, sparse=sparse, group=0, zero_bits=0)

    def stored(self, product: Product, name: str) -> Stored:
        form = self.weight_format(product)
        beats = form.matrix_beats(product.n, product.k, name)
        kept = product.n * product.k * KEPT // QUAD if form.sparse else product.n * product.k
        per_dsp = 1 if form.bits == 16 else self._per_dsp
        return Stored(
            weight_bits=form.bits,
            share=KEPT / QUAD if form.sparse else 1.0,
            useful_bits=form.matrix_bits(product.n, product.k, name),
            beats=beats,
            multiplications=kept,
            vector_cycles=-(-kept // (self.engine.vector_dsps * per_dsp)),
            matrix_cycles=-(-kept * self.token_tile // (self.engine.matrix_dsps * per_dsp)),
            tiles=-(-beats // (self.weight_channels * _TILE_LINES)),
        )

    def wait_cycles(self, place: IntArray, width: IntArray, tokens: IntArray) -> IntArray:
        return self._pass(width * tokens)

    def latency_cycles(self, width: IntArray, tokens: IntArray) -> IntArray:
        return np.full_like(width, self.engine.latency_cycles)

    def attention_wait_cycles(self, head_dim: IntArray, heads: IntArray, tokens: int) -> IntArray:
        """Heads are rotated and quantised as they come; the last one's pass is left."""
        return self._pass(head_dim * tokens)

    def attention_latency_cycles(
        self, head_dim: IntArray, heads: IntArray, tokens: int
    ) -> IntArray:
        return np.full_like(head_dim, self.engine.attention_latency_cycles)

    def attention_cycles(self, scores: IntArray, head_dim: IntArray, heads: IntArray) -> IntArray:
        macs = self.engine.vector_dsps * self._per_dsp
        engine = -(-2 * scores * head_dim // macs)
        slower: IntArray = np.maximum(engine, -(-scores // self.nonlinear.exp_lanes))
        return slower

    def tile_cycles(self, scores: int, head_dim: int) -> int:
        macs = self.engine.matrix_dsps * self._per_dsp
        return max(-(-2 * scores * head_dim // macs), -(-scores // self.nonlinear.exp_lanes))

    def _pass(self, elements: IntArray) -> IntArray:
        cycles: IntArray = -(-elements // self.nonlinear.lanes) + self.nonlinear.latency_cycles
        return cycles
