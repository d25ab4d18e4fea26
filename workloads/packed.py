"""How compressed weights and KV caches lie in memory: the format that algorithms write, machines
charge for and hardware streams.

A matrix (rows of outputs, columns of inputs) is cut into groups of inputs of one row; a group has
a scale and a zero point. With 2:4 pruning a quad, four neighbouring inputs, keeps two weights,
stored in ascending position. A *beat* is the 64 B that one HBM pseudo-channel of a U280 gives in a
cycle of 225 MHz.

Stream order. Rows are taken in blocks of as many as a beat holds groups; within a block all rows
give their first group, then all their second. Groups are cut into superblocks: first the metadata
of all its groups (scale, then zero point of each), then their data (codes of a group, then its
indices), both bit after bit from the lowest bit of the first byte and filled up to a beat. A
superblock has the fewest groups that keep the filling below `FILLING`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from workloads.config import Config
from workloads.errors import InputError
from workloads.shapes import ModelShape

BEAT_BYTES = 64
BEAT_BITS = 8 * BEAT_BYTES
QUAD, KEPT = 4, 2  # the 2:4 pattern: of every four inputs two are kept
FILLING = 0.005
PATTERNS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""Positions of the two kept weights of a quad, by 3-bit pattern code."""

Array = np.ndarray[Any, Any]


class WeightFormat(Config):
    """Bits of a stored weight matrix. The default is AccLLM's: W2, groups of 64, 2:4."""

    bits: int = Field(2, ge=2, le=16)
    """bits of a code; 16: FP16 numbers without scales"""
    sparse: bool = True
    """2:4: of every four inputs two weights are stored"""
    index: Literal["position", "pattern"] = "position"
    """2 bits for each kept weight, or one 3-bit pattern for each quad"""
    group: int = Field(64, ge=0, multiple_of=8)
    """weights that share a scale; 0: a whole row"""
    group_of: Literal["dense", "kept"] = "dense"
    """whether a group counts inputs or kept weights"""
    zero_bits: Literal[0, 2, 4, 8, 16] = 2
    """bits of a zero point; 0: none, codes are signed; 16: FP16"""

    @model_validator(mode="after")
    def _zero_is_a_code(self) -> Self:
        if self.zero_bits not in (0, self.bits, 16):
            raise ValueError(
                f"WeightFormat zero_bits must be 0, bits ({self.bits}) or 16, not {self.zero_bits}"
            )
        return self

    def group_inputs(self, columns: int, layer: str = "the matrix") -> int:
        """Return the inputs that a group spans.

        Raises:
            InputError: `columns` is no multiple of it; the sentence names `layer`.
        """
        spread = QUAD // KEPT if self.sparse and self.group_of == "kept" else 1
        inputs = self.group * spread or columns
        least = np.lcm(inputs, QUAD) if self.sparse else inputs
        if columns % least:
            raise InputError(f"{layer}: inputs must be a multiple of {least}, not {columns}")
        return inputs

    def data_bits(self, inputs: int) -> int:
        """Return the bits of codes and indices of a group of `inputs` inputs."""
        if not self.sparse:
            return inputs * self.bits
        quads = inputs // QUAD
        return quads * (KEPT * self.bits + (3 if self.index == "pattern" else 2 * KEPT))

    @property
    def metadata_bits(self) -> int:
        """Bits of scale and zero point of a group."""
        return 0 if self.bits == 16 else 16 + self.zero_bits

    def matrix_bits(self, rows: int, columns: int, layer: str = "the matrix") -> int:
        """Return the bits of a matrix, nothing filled up."""
        inputs = self.group_inputs(columns, layer)
        groups = rows * columns // inputs
        return groups * (self.data_bits(inputs) + self.metadata_bits)

    def matrix_beats(self, rows: int, columns: int, layer: str = "the matrix") -> int:
        """Return the beats of a matrix as it is streamed."""
        inputs = self.group_inputs(columns, layer)
        block = superblock(self.data_bits(inputs), self.metadata_bits)
        whole, rest = divmod(rows * columns // inputs, block)
        return whole * self._beats(block, inputs) + self._beats(rest, inputs)

    def _beats(self, groups: int, inputs: int) -> int:
        bits = (groups * self.metadata_bits, groups * self.data_bits(inputs))
        return sum(-(-part // BEAT_BITS) for part in bits)


class KvFormat(Config):
    """Bits of a stored K or V vector of one head. The default is AccLLM's KV4."""

    bits: int = Field(4, ge=2, le=16)
    """bits of an element; 16: FP16 numbers without scales"""
    zero_bits: Literal[0, 4, 8, 16] = 4
    """bits of a zero point; 0: none; 16: FP16"""

    def vector_bits(self, channels: int) -> int:
        """Return the bits of one vector of one head with its scale and zero point."""
        return channels * self.bits + (0 if self.bits == 16 else 16 + self.zero_bits)

    def token_bytes(self, shape: ModelShape) -> int:
        """Return the bytes of K and V of one token in all layers and heads."""
        bits = 2 * self.vector_bits(shape.head_dim) * shape.kv_heads * shape.layers
        return -(-bits // 8)


@lru_cache
def superblock(data_bits: int, metadata_bits: int) -> int:
    """Return the groups of a superblock."""
    if not metadata_bits:
        return max(BEAT_BITS // data_bits, 1)
    groups = 0
    while True:
        groups += 1
        bits = (groups * data_bits, groups * metadata_bits)
        beats = sum(-(-part // BEAT_BITS) for part in bits)
        if beats * BEAT_BITS <= (1 + FILLING) * sum(bits):
            return groups


def rows_per_block(data_bits: int) -> int:
    """Return the rows whose groups alternate in the stream: as many as a beat holds groups."""
    return max(BEAT_BITS // data_bits, 1)


@dataclass(frozen=True, kw_only=True)
class PackedMatrix:
    """A quantised matrix, one number an element; `pack` makes the bytes of it.

    A weight is (code - zero) * scale.
    """

    format: WeightFormat
    columns: int  # inputs, before pruning
    codes: Array  # (rows, kept) uint8, or int8 without a zero point, float16 if bits are 16
    positions: Array | None  # (rows, kept) uint8 0..3, ascending in a quad; None: dense
    scales: Array  # (rows, groups) float16; no groups if bits are 16
    zeros: Array  # (rows, groups) uint8, or float16; no groups if there are none

    @property
    def rows(self) -> int:
        """Outputs."""
        return len(self.codes)

    def dense_codes(self) -> Array:
        """Return (rows, columns) int16 of code - zero, 0 where pruned; integer zeros only."""
        signed = self.codes.astype(np.int16)
        if self.zeros.size:
            signed = signed - _spread(self.zeros.astype(np.int16), self.codes.shape[1])
        return self._scatter(signed)

    def weights(self) -> Array:
        """Return the (rows, columns) float32 weights."""
        if not self.scales.size:
            return self._scatter(self.codes.astype(np.float32))
        kept = self.codes.shape[1]
        values = self.codes.astype(np.float32)
        if self.zeros.size:
            values = values - _spread(self.zeros.astype(np.float32), kept)
        return self._scatter(values * _spread(self.scales.astype(np.float32), kept))

    def _scatter(self, values: Array) -> Array:
        if self.positions is None:
            return values
        whole = np.zeros((self.rows, self.columns), values.dtype)
        columns = np.arange(values.shape[1]) // KEPT * QUAD + self.positions
        np.put_along_axis(whole, columns.astype(np.int64), values, 1)
        return whole


def _spread(groups: Array, kept: int) -> Array:
    spread: Array = np.repeat(groups, kept // groups.shape[1], axis=1)
    return spread


def pack(matrix: PackedMatrix) -> Array:
    """Return the (beats, 64) uint8 of a matrix as hardware streams it."""
    form, inputs = matrix.format, matrix.format.group_inputs(matrix.columns)
    order = _stream_order(matrix.rows, matrix.columns // inputs, form.data_bits(inputs))
    data = _group_bits(matrix, inputs)[order]
    metadata = _metadata_bits(matrix, len(order))[order]
    block = superblock(data.shape[1], metadata.shape[1])
    parts = []
    for start in range(0, len(order), block):
        for bits in (metadata, data):
            parts.append(_beats(bits[start : start + block].reshape(-1)))
    return np.concatenate(parts).reshape(-1, BEAT_BYTES)


def unpack(beats: Array, form: WeightFormat, rows: int, columns: int) -> PackedMatrix:
    """Return the matrix of some beats: the inverse of `pack`.

    Raises:
        InputError: another number of beats than the matrix has.
    """
    wanted = form.matrix_beats(rows, columns)
    if beats.shape != (wanted, BEAT_BYTES):
        raise InputError(f"packed matrix must have {wanted} beats of 64 B, not {beats.shape}")
    inputs = form.group_inputs(columns)
    count, sizes = rows * columns // inputs, (form.metadata_bits, form.data_bits(inputs))
    block = superblock(sizes[1], sizes[0])
    bits = np.unpackbits(beats.reshape(-1), bitorder="little")
    found: tuple[list[Array], list[Array]] = ([], [])
    at = 0
    for start in range(0, count, block):
        groups = min(block, count - start)
        for part, size in zip(found, sizes, strict=True):
            part.append(bits[at : at + groups * size].reshape(groups, size))
            at += -(-groups * size // BEAT_BITS) * BEAT_BITS
    order = _stream_order(rows, columns // inputs, sizes[1])
    metadata, data = (np.empty((count, size), np.uint8) for size in sizes)
    metadata[order], data[order] = np.concatenate(found[0]), np.concatenate(found[1])
    return _from_bits(form, rows, columns, metadata, data)


def _stream_order(rows: int, groups: int, data_bits: int) -> Array:
    """Return the numbers row * groups + group in the order of the stream."""
    per_block = rows_per_block(data_bits)
    numbers = np.arange(rows * groups).reshape(rows, groups)
    blocks = [numbers[r : r + per_block].T.reshape(-1) for r in range(0, rows, per_block)]
    return np.concatenate(blocks)


def _beats(bits: Array) -> Array:
    filled = np.zeros(-(-len(bits) // BEAT_BITS) * BEAT_BITS, np.uint8)
    filled[: len(bits)] = bits
    return np.packbits(filled, bitorder="little")


def _to_bits(numbers: Array, width: int) -> Array:
    """Return (..., n * width) bits of (..., n) numbers, lowest first; two's complement."""
    raw = numbers.view(np.uint16) if numbers.dtype == np.float16 else numbers.astype(np.int64)
    bits = (raw[..., None] >> np.arange(width)) & 1
    return bits.astype(np.uint8).reshape(*numbers.shape[:-1], -1)


def _of_bits(bits: Array, width: int) -> Array:
    """Return (..., n) non-negative int64 of (..., n * width) bits."""
    parts = bits.reshape(*bits.shape[:-1], -1, width).astype(np.int64)
    numbers: Array = (parts << np.arange(width)).sum(-1)
    return numbers


def _group_bits(matrix: PackedMatrix, inputs: int) -> Array:
    groups = matrix.rows * matrix.columns // inputs
    codes = _to_bits(matrix.codes.reshape(groups, -1), matrix.format.bits)
    if matrix.positions is None:
        return codes
    positions = matrix.positions.reshape(groups, -1, KEPT)
    if matrix.format.index == "position":
        return np.concatenate([codes, _to_bits(positions.reshape(groups, -1), 2)], 1)
    code_of = np.zeros((QUAD, QUAD), np.int64)
    for code, (first, second) in enumerate(PATTERNS):
        code_of[first, second] = code
    patterns = code_of[positions[..., 0], positions[..., 1]]
    return np.concatenate([codes, _to_bits(patterns, 3)], 1)


def _metadata_bits(matrix: PackedMatrix, groups: int) -> Array:
    if not matrix.format.metadata_bits:
        return np.zeros((groups, 0), np.uint8)
    parts = [_to_bits(matrix.scales.reshape(groups, 1), 16)]
    if matrix.format.zero_bits:
        parts.append(_to_bits(matrix.zeros.reshape(groups, 1), matrix.format.zero_bits))
    return np.concatenate(parts, 1)


def _from_bits(
    form: WeightFormat, rows: int, columns: int, metadata: Array, data: Array
) -> PackedMatrix:
    kept = columns * KEPT // QUAD if form.sparse else columns
    split = kept * rows // len(data) * form.bits
    codes = _of_bits(data[:, :split], form.bits).reshape(rows, kept)
    positions = None
    if form.sparse and form.index == "position":
        positions = _of_bits(data[:, split:], 2).reshape(rows, kept).astype(np.uint8)
    elif form.sparse:
        patterns = np.array(PATTERNS, np.uint8)
        positions = patterns[_of_bits(data[:, split:], 3)].reshape(rows, kept)
    scales: Array = np.zeros((rows, 0), np.float16)
    zeros: Array = scales
    if form.metadata_bits:
        scales = _halves(_of_bits(metadata[:, :16], 16)).reshape(rows, -1)
    if form.metadata_bits and form.zero_bits:
        raw = _of_bits(metadata[:, 16:], form.zero_bits)
        zeros = (_halves(raw) if form.zero_bits == 16 else raw.astype(np.uint8)).reshape(rows, -1)
    return PackedMatrix(
        format=form,
        columns=columns,
        codes=_typed(codes, form),
        positions=positions,
        scales=scales,
        zeros=zeros,
    )


def _typed(codes: Array, form: WeightFormat) -> Array:
    if form.bits == 16:
        return _halves(codes)
    if form.zero_bits:
        return codes.astype(np.uint8)
    signed: Array = (codes - ((codes >> (form.bits - 1)) << form.bits)).astype(np.int8)
    return signed


def _halves(bits: Array) -> Array:
    return bits.astype(np.uint16).view(np.float16)
