"""The stored format of compressed weights: its size to the bit, and a round trip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.errors import InputError
from workloads.packed import (
    BEAT_BITS,
    PATTERNS,
    KvFormat,
    PackedMatrix,
    WeightFormat,
    pack,
    unpack,
)
from workloads.shapes import SHAPES

LLAMA = SHAPES["llama-2-7b"]
FORMATS = {
    "AccLLM": WeightFormat(),
    "pattern index": WeightFormat(index="pattern"),
    "groups of kept": WeightFormat(group_of="kept"),
    "pattern index, groups of kept": WeightFormat(index="pattern", group_of="kept"),
    "FP16 zero": WeightFormat(zero_bits=16),
    "dense W2": WeightFormat(sparse=False),
    "W4": WeightFormat(bits=4, zero_bits=4),
    "W8 by row": WeightFormat(bits=8, zero_bits=0, group=0),
    "FP16": WeightFormat(bits=16, sparse=False, group=0, zero_bits=0),
}


def random_matrix(form: WeightFormat, rows: int, columns: int, seed: int) -> PackedMatrix:
    """Return a matrix of random codes, positions, scales and zeros."""
    random = np.random.default_rng(seed)
    kept = columns // 2 if form.sparse else columns
    groups = (rows, columns // form.group_inputs(columns))
    low, high = (
        (0, 1 << form.bits) if form.zero_bits else (-(1 << form.bits - 1), 1 << form.bits - 1)
    )
    codes = random.integers(low, high, (rows, kept))
    codes = codes.astype(np.uint8 if form.zero_bits else np.int8 if form.bits < 16 else np.float16)
    chosen = random.integers(0, len(PATTERNS), (rows, kept // 2))
    positions = np.array(PATTERNS, np.uint8)[chosen].reshape(rows, kept)
    scales = zeros = np.zeros((rows, 0), np.float16)
    if form.bits < 16:
        scales = random.random(groups).astype(np.float16)
    if form.zero_bits == 16:
        zeros = random.normal(size=groups).astype(np.float16)
    elif form.zero_bits:
        zeros = random.integers(0, 1 << form.zero_bits, groups).astype(np.uint8)
    return PackedMatrix(
        format=form,
        columns=columns,
        codes=codes,
        positions=positions if form.sparse else None,
        scales=scales,
        zeros=zeros,
    )


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@given(rows=st.integers(1, 40), blocks=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_unpack_inverts_pack(form: WeightFormat, rows: int, blocks: int, seed: int) -> None:
    matrix = random_matrix(form, rows, 128 * blocks, seed)
    beats = pack(matrix)
    assert len(beats) == form.matrix_beats(rows, matrix.columns)
    found = unpack(beats, form, rows, matrix.columns)
    for name in ("codes", "positions", "scales", "zeros"):
        ours, theirs = getattr(matrix, name), getattr(found, name)
        assert (ours is None and theirs is None) or ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def _llama_bytes(form: WeightFormat) -> float:
    hidden, wide = LLAMA.hidden, LLAMA.intermediate
    shapes = [(hidden, hidden)] * 4 + [(wide, hidden)] * 2 + [(hidden, wide)]
    return LLAMA.layers * sum(form.matrix_bits(*shape) for shape in shapes) / 8


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("AccLLM", 1.847),
        ("FP16 zero", 2.024),
        ("groups of kept", 1.733),
        ("pattern index", 1.644),
        ("pattern index, groups of kept", 1.530),
        ("dense W2", 1.847),
        ("FP16", 12.95),
    ],
)
def test_layouts_of_llama_2_7b_have_the_derived_bytes(name: str, gigabytes: float) -> None:
    digits = 2 if name == "FP16" else 3
    assert round(_llama_bytes(FORMATS[name]) / 1e9, digits) == gigabytes


@pytest.mark.parametrize(
    ("form", "token_bytes"),
    [
        (KvFormat(zero_bits=0), 135_168),
        (KvFormat(), 136_192),
        (KvFormat(zero_bits=16), 139_264),
        (KvFormat(bits=16, zero_bits=0), 524_288),
    ],
)
def test_a_token_of_llama_2_7b_has_the_derived_kv_bytes(form: KvFormat, token_bytes: int) -> None:
    assert form.token_bytes(LLAMA) == token_bytes


def test_default_superblock_is_one_beat_of_metadata_and_seven_of_data() -> None:
    form = WeightFormat()
    assert form.matrix_beats(28, 64) == 8
    assert form.data_bits(64) * 4 == BEAT_BITS
    matrix = random_matrix(form, 28, 64, 0)
    beats = pack(matrix)
    first = beats[0, :2].view(np.uint16)[0]  # scale of the first row's first group
    assert first == matrix.scales[0, 0].view(np.uint16)
    codes = np.unpackbits(beats[1], bitorder="little")[:64].reshape(32, 2) @ [1, 2]
    np.testing.assert_array_equal(codes, matrix.codes[0, :32])


def test_rows_of_a_beat_alternate() -> None:
    matrix = random_matrix(WeightFormat(), 8, 128, 1)
    bits = np.unpackbits(pack(matrix)[1:5].reshape(-1), bitorder="little").reshape(16, 128)
    of_row_1 = bits[1, :64].reshape(32, 2) @ [1, 2]  # second in the stream: row 1, group 0
    np.testing.assert_array_equal(of_row_1, matrix.codes[1, :32])


def test_weights_are_code_minus_zero_times_scale() -> None:
    matrix = random_matrix(WeightFormat(group=8), 2, 8, 2)
    dense = matrix.weights()
    for row in range(2):
        for kept in range(4):
            column = kept // 2 * 4 + matrix.positions[row, kept]
            code = float(matrix.codes[row, kept]) - float(matrix.zeros[row, 0])
            assert dense[row, column] == np.float32(code * float(matrix.scales[row, 0]))
    assert (dense != 0).sum() <= 8
    assert matrix.dense_codes().shape == (2, 8)


def test_inputs_that_are_no_multiple_of_the_group_are_named() -> None:
    with pytest.raises(InputError, match="layer 3 down: inputs must be a multiple of 64, not 100"):
        WeightFormat().matrix_bits(8, 100, "layer 3 down")


def test_wrong_number_of_beats_is_refused() -> None:
    with pytest.raises(InputError, match="must have 8 beats"):
        unpack(np.zeros((7, 64), np.uint8), WeightFormat(), 28, 64)


def test_impossible_zero_is_refused() -> None:
    with pytest.raises(InputError, match="zero_bits must be 0, bits"):
        WeightFormat(zero_bits=4)
