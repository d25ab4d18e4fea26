"""Shapes of decodes, and how the keys are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.kernels.base import SMS
from algos.kernels.decode.shape import (
    FILL,
    RESIDENT,
    Decode,
    SharedDecode,
    cut,
    lines,
    merge,
)
from workloads.errors import InputError


@given(
    rows=st.integers(1, 3000),
    keys=st.integers(1, 50_000),
    tile=st.sampled_from((1, 32, 64, 256)),
    target=st.sampled_from(tuple(SMS)),
    most=st.integers(0, 128),
)
def test_parts_hold_every_key_and_none_is_empty(
    rows: int, keys: int, tile: int, target: str, most: int
) -> None:
    parts, length = cut(rows, keys, tile, target, most)
    assert length % tile == 0
    assert (parts - 1) * length < keys <= parts * length
    assert parts <= (most or 128)


def test_a_few_rows_fill_the_device_in_one_wave() -> None:
    assert cut(32, 32_768, 32, "sm_90") == (8, 4096)  # 256 blocks of 264
    assert cut(1, 4096, 32, "sm_90") == (128, 32)  # a tile each


def test_rows_that_fill_the_device_are_not_cut() -> None:
    assert cut(RESIDENT * SMS["sm_90"], 4096, 32, "sm_90") == (1, 4096)


def test_another_wave_must_pay_for_its_start() -> None:
    slots = RESIDENT * SMS["sm_80"]  # 216; 5 parts of 32 rows are 160 blocks, 6 are 192
    assert cut(slots // 6, 6 * FILL, 1, "sm_80") == (6, FILL)


def test_threads_load_16_bytes_each() -> None:
    assert lines(256) == 8
    assert lines(32) == 64
    assert lines(4096) == 1


def test_one_part_needs_no_merge() -> None:
    assert merge(Decode(), 1, weighted=True) == []


def test_the_merge_reads_all_parts() -> None:
    (program,) = merge(Decode(heads=32, dim=128), 8, weighted=True)
    assert program.grid == (32, 1, 1)
    assert program.l2_bytes == 32 * (8 * (128 * 4 + 4) + 128 * 2)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"dim": 80}, r"decode dim must be one of \(16, 32, 64, 128\), not 80"),
        ({"heads": 6, "kv_heads": 4}, "heads must be a multiple of kv_heads, 6 is not of 4"),
        ({"batch": 4096}, "batch x heads must be at most 65535, not 131072"),
        ({"keys": 0}, "keys"),
        ({"parts": 129}, "parts"),
    ],
)
def test_a_shape_that_is_not_supported_is_refused(values: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Decode(**values)


def test_vector_code_holds_few_heads() -> None:
    with pytest.raises(InputError, match="must be 1, 2, 4, 8 times kv_heads, 12 is not of 4"):
        SharedDecode(heads=12, kv_heads=4)
