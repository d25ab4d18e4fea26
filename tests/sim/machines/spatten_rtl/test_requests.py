"""What the test bench makes of a row, and which rows the release cannot run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.machines.spatten_rtl import layout
from sim.machines.spatten_rtl.requests import Rows, request_table, sizes_of
from workloads.errors import InputError

EIGHTH = sizes_of(2048, 64, 8)
FULL = sizes_of(256, 512, 1)


def rows(
    keys: list[int],
    values: list[int] | None = None,
    key_bits: int | list[int] = 8,
    value_bits: int | list[int] = 8,
    needs: bool = False,
) -> Rows:
    count = len(keys)
    return Rows(
        keys=np.array(keys),
        values=np.array(values if values is not None else keys),
        key_bits=np.broadcast_to(np.array(key_bits), count).copy(),
        value_bits=np.broadcast_to(np.array(value_bits), count).copy(),
        needs_lsbs=np.full(count, needs),
        names=[f"row {number}" for number in range(1, count + 1)],
    )


def table(given: Rows, sizes: Any = EIGHTH, multipliers: int = 64) -> Any:
    return request_table(given, sizes, multipliers, 16, 8)


def test_sizes_of_the_two_released_machines() -> None:
    assert (EIGHTH.lanes, EIGHTH.channels, EIGHTH.rows_per_line, EIGHTH.tree_layers) == (4, 2, 1, 0)
    assert (FULL.lanes, FULL.channels, FULL.rows_per_line, FULL.tree_layers) == (32, 16, 8, 3)
    assert EIGHTH.queue_depth == FULL.queue_depth == 64
    assert (EIGHTH.granule_bits, EIGHTH.push_granules, EIGHTH.capacity_granules) == (256, 4, 8)
    assert (FULL.granule_bits, FULL.push_granules, FULL.capacity_granules) == (2048, 4, 8)


def test_counts_are_rounded_up_and_lines_are_even() -> None:
    row = table(rows([993], [205]))[0]
    assert (row[layout.KEYS], row[layout.VALUES]) == (1000, 208)
    assert (row[layout.KEY_LINES], row[layout.VALUE_LINES]) == (1000, 208)
    row = request_table(rows([32]), FULL, 512, 16, 8)[0]
    assert row[layout.KEY_LINES] == 4


@pytest.mark.parametrize("bits", [10, 12])
def test_wide_keys_become_8_and_4_bits_always_computed_twice(bits: int) -> None:
    row = table(rows([64], key_bits=bits, value_bits=bits))[0]
    assert row[layout.RECOMPUTE] == 1
    assert (row[layout.KEY_BYTES], row[layout.LSB_BYTES], row[layout.VALUE_BYTES]) == (64, 32, 64)
    assert (row[layout.KEY_PARTS], row[layout.LSB_PARTS], row[layout.VALUE_PARTS]) == (2, 1, 2)


def test_six_bit_rows_pair_up() -> None:
    made = table(rows([64, 64, 128, 128], key_bits=6, value_bits=6))
    assert made[:, layout.PART].tolist() == [0, 1, 0, 1]
    assert made[:, layout.LAST].tolist() == [0, 1, 0, 1]
    assert made[:, layout.BATCH].tolist() == [0, 0, 1, 1]
    assert made[0, layout.KEY_BYTES] == 96
    assert made[:, layout.TOPK_CYCLES].astype(bool).tolist() == [True, False, True, False]


def test_addresses_are_64_kib_apart() -> None:
    made = table(rows([8, 8]))
    assert made[0, layout.KEY_BASE] == 0xAB10000
    assert made[1, layout.LSB_BASE] == 0xAB20000 + 0x10000
    assert made[1, layout.VALUE_BASE] == 0xCD10000 + 0x10000


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            rows([64, 64], key_bits=[8, 5]),
            r"row 2: quant_key_bit must be -1, 6, 8, 10 or 12, the widths that the released "
            r"fetcher has a profile for, not 5",
        ),
        (
            rows([64], value_bits=16),
            r"row 1: quant_value_bit must be -1, 6, 8, 10 or 12, the widths that the released "
            r"fetcher has a profile for, not 16",
        ),
        (
            rows([64, 64], [64, 0]),
            r"row 2: value_fetch_num must be at least 1, not 0",
        ),
        (
            rows([64, 64, 64], key_bits=[6, 6, 6]),
            r"row 3: quant_key_bit must be 6 in the row after it too, 6-bit heads are fetched in "
            r"pairs",
        ),
        (
            rows([64, 72], key_bits=6),
            r"row 2: key_fetch_num must be 64 after rounding, as in the row it is paired with, "
            r"not 72",
        ),
        (
            rows([2056]),
            r"row 1: key_fetch_num must be at most 2048, what the buffer holds of 1 heads, "
            r"not 2056",
        ),
        (
            rows([1032, 1032], [64, 64], key_bits=6),
            r"row 1: key_fetch_num must be at most 1024, what the buffer holds of 2 heads, "
            r"not 1032",
        ),
    ],
)
def test_rows_that_cannot_run_are_named(given: Rows, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}$"):
        table(given)


def test_a_count_that_leaves_lanes_empty_is_named() -> None:
    sentence = (
        r"row 1: key_fetch_num must be a multiple of 32 after rounding, of the 32 fetch lanes and "
        r"of the 16 rows of two buffer lines \(the release hangs otherwise\), not 72"
    )
    with pytest.raises(InputError, match=f"^{sentence}$"):
        table(rows([72]), FULL, 512)
