"""A Llama decoder as the W2A8KV4 machine computes it: integers from embedding to last layer.

The engine's parts (`linear`, `attend`) and the nonlinear unit's are golden functions of
`sim.blocks`; this file only strings them together, for all tokens of a text at once. Embedding and
the vocabulary's output layer are not compressed; the last norm and the output layer are left to
floating point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from sim.blocks import nonlinear
from sim.blocks.kv4_dequant import arguments_golden, half_parts, score_multiplier
from sim.blocks.nonlinear import FRACTION_BITS, KvCodes, Quantised
from sim.blocks.w2a8kv4_attention import weigh
from workloads.errors import InputError
from workloads.packed import PackedMatrix
from workloads.shapes import ModelShape

Array = np.ndarray[Any, Any]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

OPERATORS = ("query", "key", "value", "output", "gate", "up", "down")
"""Matrices of a layer, as a trace names them."""


@dataclass(frozen=True, kw_only=True)
class DecoderWeights:
    """A compressed Llama. Uncompressed parts are float arrays."""

    shape: ModelShape
    embedding: Array  # (vocabulary, hidden)
    matrices: tuple[Mapping[str, PackedMatrix], ...]  # layer -> one each of `OPERATORS`
    attention_norm: Array  # (layers, hidden)
    feed_forward_norm: Array  # (layers, hidden)
    last_norm: Array  # (hidden,)
    head: Array  # (vocabulary, hidden)
    epsilon: float
    theta: float  # base of the rotary frequencies

    def __post_init__(self) -> None:
        for layer, matrices in enumerate(self.matrices):
            for name in OPERATORS:
                if name not in matrices:
                    raise InputError(f"layer {layer} must have a {name} matrix, it has none")


class HeadRow(NamedTuple):
    """One query of one head, and the keys it meets."""

    queries: IntArray  # (keys, channels) codes of the query: sinks meet it at another position
    scales: Array  # (keys,) real value of one step of these codes
    keys: KvCodes  # (keys, channels) codes, (keys,) scales and zeros
    values: KvCodes


class Engine(Protocol):
    """What multiplies: the golden functions, or one that also records what it was asked."""

    def linear(self, codes: IntArray, matrix: PackedMatrix) -> IntArray:
        """Return the (tokens, rows) sums of (tokens, inputs) codes."""
        ...

    def attend(self, row: HeadRow) -> IntArray:
        """Return the (channels,) outputs of a row, 16 bits after the point."""
        ...


class GoldenEngine:
    """The golden functions of the engine."""

    def linear(self, codes: IntArray, matrix: PackedMatrix) -> IntArray:
        """Multiply by a packed matrix, exactly: every sum is below 2^53.

        The sum over groups of scale x sum of code x activation, minus zero x sum of kept
        activations (AccLLM, arXiv 2505.03745, W2 with zero points), in units of 2^-24.
        """
        mantissa, exponent = half_parts(matrix.scales)
        scales = mantissa << (exponent - 1)
        inputs = matrix.columns // scales.shape[1]
        weights = matrix.dense_codes() * np.repeat(scales, inputs, axis=1)
        return np.rint(codes.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64)

    def attend(self, row: HeadRow) -> IntArray:
        """Attend to the keys of a row."""
        channels = row.queries.shape[1]
        factors = {scale: score_multiplier(scale, channels) for scale in set(row.scales.tolist())}
        multiplier, shift = np.array([factors[scale] for scale in row.scales.tolist()]).T
        arguments = arguments_golden(
            (row.queries * row.keys.codes).sum(1),
            row.queries.sum(1),
            row.keys.zeros,
            row.keys.scales,
            multiplier,
            shift,
        )
        return weigh(arguments, *row.values).astype(np.int64)


class GoldenDecoder:
    """Runs texts through a compressed decoder."""

    def __init__(
        self,
        weights: DecoderWeights,
        *,
        sinks: int = 4,
        recent: int = 2044,
        engine: Engine | None = None,
    ) -> None:
        self.weights, self.engine = weights, engine or GoldenEngine()
        self._sinks, self._recent = sinks, recent
        gain = 1 << nonlinear.GAIN_BITS
        self._gains = {
            name: np.rint(np.asarray(values, np.float64) * gain).astype(np.int64)
            for name, values in (
                ("attention", weights.attention_norm),
                ("feed forward", weights.feed_forward_norm),
            )
        }

    def logits(self, tokens: Sequence[int]) -> Array:
        """Return (tokens, vocabulary) float64: each row predicts the token after it."""
        hidden = self.embed(tokens)
        for layer in range(self.weights.shape.layers):
            hidden = self.layer(layer, hidden)
        real = nonlinear.to_real(hidden)
        root = np.sqrt((real**2).mean(-1, keepdims=True) + self.weights.epsilon)
        weighed = real / root * np.asarray(self.weights.last_norm, np.float64)
        logits: Array = weighed @ np.asarray(self.weights.head, np.float64).T
        return logits

    def embed(self, tokens: Sequence[int]) -> IntArray:
        """Return the hidden states (tokens, hidden) before the first layer."""
        return nonlinear.to_fixed(self.weights.embedding[np.asarray(tokens)])

    def layer(self, layer: int, hidden: IntArray) -> IntArray:
        """Return the hidden states (tokens, hidden) behind one layer, 16 bits after the point."""
        shape, matrices = self.weights.shape, self.weights.matrices[layer]
        entry = self._norm(hidden, self._gains["attention"][layer])
        query, key, value = (
            self._heads(self._linear(entry, matrices[name]), heads)
            for name, heads in (
                ("query", shape.heads),
                ("key", shape.kv_heads),
                ("value", shape.kv_heads),
            )
        )
        attended = self._attention(query, key, value)
        hidden = nonlinear.saturate(
            hidden + self._linear(nonlinear.quantise(attended), matrices["output"])
        )
        entry = self._norm(hidden, self._gains["feed forward"][layer])
        gate, up = (self._linear(entry, matrices[name]) for name in ("gate", "up"))
        wide = nonlinear.quantise(nonlinear.silu_multiply(gate, up))
        return nonlinear.saturate(hidden + self._linear(wide, matrices["down"]))

    def _norm(self, hidden: IntArray, gain: IntArray) -> Quantised:
        return nonlinear.norm_quantise(hidden, gain, self.weights.epsilon)

    def _linear(self, x: Quantised, matrix: PackedMatrix) -> IntArray:
        return nonlinear.dequantise(self.engine.linear(x.codes, matrix), x.largest)

    def _heads(self, x: IntArray, heads: int) -> IntArray:
        return x.reshape(len(x), heads, -1)

    def _attention(self, query: IntArray, key: IntArray, value: IntArray) -> IntArray:
        """Return (tokens, heads * channels): every query meets sinks and recent keys."""
        tokens, heads, channels = query.shape
        at = np.arange(tokens)
        capped = np.minimum(at, self._sinks + self._recent - 1)
        local, sink = (self._queries(query, positions) for positions in (at, capped))
        keys = nonlinear.quantise_kv(self._rotated(key, at))
        values = nonlinear.quantise_kv(value)
        out = np.zeros((tokens, heads, channels), np.int64)
        for token in range(tokens):
            first = max(token - self._recent + 1, 0)
            met = np.concatenate([np.arange(min(self._sinks, first)), np.arange(first, token + 1)])
            is_sink = (met < self._sinks)[:, None]
            for head in range(heads):
                kv_head = head * key.shape[1] // heads
                row = HeadRow(
                    np.where(is_sink, sink.codes[token, head], local.codes[token, head]),
                    np.where(is_sink, sink.largest[token, head], local.largest[token, head])[:, 0]
                    / (nonlinear.CODE_MAX << FRACTION_BITS),
                    _of_head(keys, met, kv_head),
                    _of_head(values, met, kv_head),
                )
                out[token, head] = self.engine.attend(row)
        return out.reshape(tokens, -1)

    def _queries(self, query: IntArray, positions: IntArray) -> Quantised:
        codes, largest = nonlinear.quantise(self._rotated(query, positions))
        return Quantised(codes, np.maximum(largest, 1))  # a scale of 0 has no logarithm

    def _rotated(self, x: IntArray, positions: IntArray) -> IntArray:
        return nonlinear.rotate(x, *nonlinear.angles(positions, x.shape[-1], self.weights.theta))


def _of_head(cache: KvCodes, tokens: IntArray, head: int) -> KvCodes:
    return KvCodes(cache.codes[tokens, head], cache.scales[tokens, head], cache.zeros[tokens, head])
