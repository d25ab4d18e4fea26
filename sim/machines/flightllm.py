"""FlightLLM on an Alveo U280 (Zeng et al., FPGA 2024, arXiv 2401.03868): AccLLM's comparator.

The authors released the configuration, instruction generator and profiler of one core
(github.com/FlightLLM/flightllm_test_demo). Their profiler times the instructions of the whole
model on one core and divides by 3.2 for four cores; here by 0.8 x 3. Times follow from their
constants; none is fitted to a measured throughput.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import ClassVar

import numpy as np
from pydantic import Field

from sim.machines.decoder.design import Design, Forms, IntArray, Product, Stored
from sim.machines.decoder.machine import DECODER_FIDELITY, DecoderMachine
from sim.machines.decoder.memory import weight_stream
from sim.machines.decoder.offers import PRECISION
from sim.machines.decoder.program import GATE, HEAD, QUERY
from workloads.packed import BEAT_BITS, BEAT_BYTES, KvFormat

_WHOLE = 100  # efficiencies are whole hundredths
_LOW_BITS = 5  # mixed precision has 3, 4 and 5 bits


class FlightLlm(DecoderMachine):
    """FlightLLM on an Alveo U280."""

    name: ClassVar[str] = "flightllm-u280"
    description: ClassVar[str] = (
        "FlightLLM (FPGA 2024) on an Alveo U280: 3 cores, mixed 3/4/5-bit weights expanded to "
        "INT8, operators one after another, 225 MHz"
    )

    cores: int = Field(3, ge=1, le=4)
    """one for each SLR"""
    core_percent: int = Field(80, ge=1, le=100)
    """share of a core's speed that remains beside others (released profiler: 3.2 for 4 cores)"""
    stream_percent: int = Field(70, ge=1, le=100)
    """share of a pseudo-channel's peak in its own core (released configuration)"""
    cross_percent: int = Field(35, ge=1, le=100)
    """the same across cores: vectors are loaded so (released configuration)"""
    core_channels: int = Field(8, ge=1, le=8)
    """pseudo-channels of a core's weight buffer; K and V lie there too (released configuration)"""
    matrix_macs: int = Field(4096, ge=1)
    """multiplications per cycle of a core on a tile of tokens (released: 2 x 16 x 128)"""
    vector_macs: int = Field(1024, ge=1)
    """the same on one token (released: 64 x 16 x 1)"""
    vector_outputs: int = Field(512, ge=1)
    """outputs of one instruction on one token; fewer are computed as many (released)"""
    buffer_bytes: int = Field(8 * 4096 * 64, ge=4096)
    """weight buffer of a core, 8-bit weights; half of it is loaded while the other works"""
    lanes: int = Field(16, ge=1)
    """FP16 elements per cycle of a core's special function unit (released); softmax and
    normalisation read a vector twice"""
    token_tile: int = Field(128, ge=64, multiple_of=64)
    """tokens of a matrix instruction (released)"""
    weight_bits: float = Field(4.153, gt=0, le=16)
    """bits of a weight of at most 5 bits with all its metadata: the released parameters of
    Llama-2-7B have 3.43 GB for 6.607e9 weights (mean of 3.5 bits and indices)"""
    query_key_percent: int = Field(70, ge=1, le=100)
    """share of the weights kept in query and key matrices, the only sparse ones (released)"""
    token_cycles: int = Field(120, ge=0)
    """last logit to the next token's embedding (estimate)"""

    @property
    def exploits(self) -> frozenset[str]:
        return frozenset({PRECISION})

    @property
    def multipliers(self) -> int:
        return self.cores * self.matrix_macs

    @property
    def fidelity(self) -> tuple[str, ...]:
        return (
            "Rates and sizes are those of the released configuration: 0.70 of a pseudo-channel's "
            "peak for weights, K and V, 0.35 for vectors, 0.8 of each core beside others. The "
            "released instructions load K and V from the core's own pseudo-channels.",
            "Each operator waits for the one before and its vector goes through HBM, as in the "
            "released instruction generator; half a weight buffer is loaded whole before it is "
            "used. Weights of few bits are expanded to INT8: they save bytes and no work.",
            "Every weight of few bits has the mean size of the released parameters; which layers "
            "have 3, 4 or 5 bits is not modelled, nor block-sparse attention in a prefill.",
            "The released bitstream was measured on a board: 57.1 token/s at 128 keys and 52.7 at "
            "512; the paper gives about 55. `prunesim reproduce accllm` has this model's beside "
            "them.",
            *DECODER_FIDELITY,
        )

    @property
    def _speed(self) -> Fraction:
        """Cores that all of them together are worth."""
        return Fraction(self.cores * self.core_percent, _WHOLE)

    @property
    def design(self) -> Design:
        channels = self.cores * self.core_channels
        rate = Fraction(self.stream_percent * self.core_percent, _WHOLE * _WHOLE)
        one = weight_stream(self.dram, self.clock_hz)
        stream = one._replace(beats=rate.numerator, cycles=rate.denominator)
        return Design(
            weight_channels=channels,
            kv_channels=channels,
            shared=True,
            striped_heads=True,
            weights=stream,
            kv=stream,
            slots=2,
            kv_tile_lines=max(self.vector_outputs * 128 // BEAT_BYTES // channels, 1),
            buffer_beats_per_cycle=self.core_channels,
            token_tile=self.token_tile,
            token_latency_cycles=self.token_cycles,
            runs_ahead=False,
            whole_tiles=True,
            separate_operators=True,
            spill_bytes=0,
            spill_bytes_per_cycle=1.0,
            channel_bytes=self.dram.capacity_bytes // 32,
        )

    @property
    def forms(self) -> Forms:
        form = KvFormat(bits=8, zero_bits=0)
        return Forms(form, form)

    @property
    def has_window(self) -> bool:
        return False

    def stored(self, product: Product, name: str) -> Stored:
        del name  # every matrix fits
        weights = product.k * product.n
        is_low = product.weight_bits <= _LOW_BITS or product.operator == "head"
        bits = round(weights * self.weight_bits) if is_low else weights * 8
        sparse = is_low and product.operator in ("query", "key")
        percent = self.query_key_percent if sparse else _WHOLE
        outputs = -(-product.n // self.vector_outputs)
        splits = -(-self.vector_outputs * product.k * 2 // self.buffer_bytes)
        vector = outputs * self.vector_outputs * product.k * percent
        return Stored(
            weight_bits=min(product.weight_bits, 8),
            share=1.0,
            useful_bits=bits,
            beats=-(-bits // BEAT_BITS),
            multiplications=weights * percent // _WHOLE,
            vector_cycles=self._shared(Fraction(vector, _WHOLE * self.vector_macs)),
            matrix_cycles=self._shared(
                Fraction(weights * percent * self.token_tile, _WHOLE * self.matrix_macs)
            ),
            tiles=outputs * splits,
        )

    def wait_cycles(self, place: IntArray, width: IntArray, tokens: IntArray) -> IntArray:
        """Load the vector; before query, gate and head also normalise it, two passes."""
        elements = width * tokens
        passes = self._each(2 * elements, self.lanes) + self._load(elements) + self._store(elements)
        normal = np.isin(place, (QUERY, GATE, HEAD))
        wait: IntArray = self._load(elements) + np.where(normal, passes, 0)
        return wait

    def latency_cycles(self, width: IntArray, tokens: IntArray) -> IntArray:
        """Store the results."""
        return self._store(width * tokens)

    def attention_wait_cycles(self, head_dim: IntArray, heads: IntArray, tokens: int) -> IntArray:
        return self._load(head_dim * heads * tokens)

    def attention_latency_cycles(
        self, head_dim: IntArray, heads: IntArray, tokens: int
    ) -> IntArray:
        return self._store(head_dim * heads * tokens)

    def attention_cycles(self, scores: IntArray, head_dim: IntArray, heads: IntArray) -> IntArray:
        """Scores and softmax head by head, side by side; probabilities go through HBM."""
        keys = -(-scores // heads)
        columns = self.vector_outputs
        score = -(-keys // columns) * columns * head_dim // self.vector_macs
        value = -(-head_dim // columns) * columns * keys // self.vector_macs
        softmax = -(-2 * keys // self.lanes)
        engine = self._each(heads * (np.maximum(score, softmax) + value), 1)
        total: IntArray = engine + self._load(scores) + self._store(scores)
        return total

    def tile_cycles(self, scores: int, head_dim: int) -> int:
        softmax = Fraction(2 * scores, self.lanes)
        return self._shared(max(Fraction(2 * scores * head_dim, self.matrix_macs), softmax))

    def _shared(self, cycles: Fraction) -> int:
        """Return the cycles of all cores for what one core does in `cycles`."""
        return math.ceil(cycles / self._speed)

    def _each(self, amounts: IntArray, per_cycle: Fraction | int) -> IntArray:
        """Return the cycles of all cores for amounts that one core does at a rate."""
        speed = self._speed * per_cycle
        cycles: IntArray = -(-amounts * speed.denominator // speed.numerator)
        return cycles

    def _load(self, elements: IntArray) -> IntArray:
        """Load 8-bit vectors from one pseudo-channel of another core."""
        return self._each(elements, Fraction(BEAT_BYTES * self.cross_percent, _WHOLE))

    def _store(self, elements: IntArray) -> IntArray:
        """Store 8-bit vectors to one pseudo-channel."""
        return self._each(elements, Fraction(BEAT_BYTES * self.stream_percent, _WHOLE))
