"""Matrix fetcher: which DRAM transactions hold which rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.blocks import fetch
from sim.blocks.fetch import FetchConfig, chunk_ready, plane_transactions
from workloads.errors import InputError

row_sets = st.lists(st.integers(0, 200), min_size=1, max_size=40, unique=True).map(
    lambda rows: np.array(sorted(rows))
)


@given(row_sets, st.integers(1, 2000), st.sampled_from([16, 32, 64]))
def test_transactions_are_those_that_hold_any_bit_of_the_rows(rows, row_bits, size):
    found, last = plane_transactions(100, row_bits, rows, size)
    wanted = {
        100 + bit // (size * 8)
        for row in rows.tolist()
        for bit in (row * row_bits, (row + 1) * row_bits - 1)
    }
    assert wanted <= set(found.tolist())
    assert sorted(set(found.tolist())) == found.tolist()
    exact = set()
    for row in rows.tolist():
        first, final = row * row_bits // (size * 8), ((row + 1) * row_bits - 1) // (size * 8)
        exact |= set(range(100 + first, 100 + final + 1))
    assert set(found.tolist()) == exact
    ends = 100 + ((rows + 1) * row_bits - 1) // (size * 8)
    assert found[last].tolist() == ends.tolist()


@given(row_sets, st.integers(1, 600))
def test_kernel_equals_its_python_twin(rows, row_bits):
    twin = fetch._plane_transactions.py_func(7, row_bits, rows, 256)
    for compiled, plain in zip(plane_transactions(7, row_bits, rows, 32), twin, strict=True):
        assert compiled.tolist() == plain.tolist()


def test_half_size_rows_share_a_transaction():
    found, last = plane_transactions(0, 128, np.array([0, 1, 3]), 32)
    assert found.tolist() == [0, 1]
    assert last.tolist() == [0, 0, 1]


@given(st.lists(st.integers(0, 99), min_size=1, max_size=30), st.integers(1, 9))
def test_a_chunk_is_ready_when_all_up_to_its_last_row_are(completion, rows_per_chunk):
    completion = np.array(completion)
    last = np.arange(len(completion))
    ready = chunk_ready(completion, last, rows_per_chunk)
    ends = [min(i + rows_per_chunk, len(last)) for i in range(0, len(last), rows_per_chunk)]
    assert ready.tolist() == [completion[:end].max() for end in ends]
    twin = fetch._chunk_ready.py_func(completion, last, rows_per_chunk)
    assert ready.tolist() == twin.tolist()


@pytest.mark.parametrize(("bits", "stored"), [(0, 0), (1, 4), (4, 4), (6, 8), (8, 8), (12, 12)])
def test_a_width_is_stored_in_the_next_that_the_converter_has(bits, stored):
    assert FetchConfig().stored_width(bits) == stored


def test_a_width_beyond_the_converter_is_refused():
    with pytest.raises(InputError, match=r"^bits must be at most 12, not 13$"):
        FetchConfig().stored_width(13)
