"""How many are kept, and which."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from algos.selection import (
    best_first,
    check_finite,
    importance_codes,
    keep_count,
    keep_ratios,
    kept_ids,
    largest,
    probability_codes,
    rows_of,
    top_mask,
)
from workloads.errors import InputError


@given(st.integers(1, 1000), st.integers(1, 4096))
def test_keep_count_is_the_exact_floor(thousandths: int, n: int) -> None:
    exact = Fraction(thousandths, 1000) * n
    assert keep_count(thousandths / 1000, n) == max(1, exact.numerator // exact.denominator)


@pytest.mark.parametrize(
    ("ratio", "n", "kept"), [(0.3, 10, 3), (0.29, 100, 29), (0.01, 5, 1), (1.0, 7, 7)]
)
def test_keep_count(ratio: float, n: int, kept: int) -> None:
    assert keep_count(ratio, n) == kept


def test_the_released_gpt2_counts() -> None:
    """Small-per8 keeps floor(ratio * 1024) tokens: facts of the published traces."""
    assert [keep_count(r, 1024) for r in (0.9, 0.7, 0.2, 0.1)] == [921, 716, 204, 102]


def test_keep_ratios_are_linear_after_the_unpruned_layers() -> None:
    # ceil(0.15 * 6) = 1 layer whole, then 0.95 down to 0.55: the mean is 0.75
    found = keep_ratios(6, 0.75, 0.55, 0.15)
    assert found == pytest.approx((1, 0.95, 0.85, 0.75, 0.65, 0.55))
    assert keep_ratios(12, 0.5, 0.5, 0.30) == pytest.approx((1,) * 4 + (0.5,) * 8)


@pytest.mark.parametrize(
    ("layers", "unpruned", "expected"),
    [(1, 0.0, (1,)), (2, 0.0, (1, 0.6)), (3, 1.0, (1, 1, 1)), (3, 0.0, (1, 0.8, 0.4))],
)
def test_keep_ratios_of_shallow_models(
    layers: int, unpruned: float, expected: tuple[float, ...]
) -> None:
    assert keep_ratios(layers, 0.6, 0.4, unpruned) == pytest.approx(expected)


codes_lists = st.lists(st.integers(0, 5) | st.integers(0, 4095), min_size=1, max_size=30)


@given(codes_lists, st.data())
def test_top_mask_keeps_the_largest_with_ties_to_the_lowest_index(
    codes: list[int], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(codes)))
    expected = sorted(sorted(range(len(codes)), key=lambda i: (-codes[i], i))[:k])
    mask = top_mask(torch.tensor([codes], dtype=torch.int32), k)
    assert kept_ids(mask).tolist() == [expected]


def test_top_mask_works_row_by_row() -> None:
    mask = top_mask(torch.tensor([[[1, 3, 3], [7, 7, 7]]], dtype=torch.int32), 2)
    assert mask.tolist() == [[[False, True, True], [True, True, False]]]


def test_the_best_of_each_row_come_first_the_lower_index_among_equals() -> None:
    score = torch.tensor([[[1.0, 2, 2, 0]]])
    assert best_first(score, 3).tolist() == [[[1, 2, 0]]]
    assert best_first(score, 9).tolist() == [[[1, 2, 0, 3]]]
    assert largest(score, 1).tolist() == [[[False, True, False, False]]]
    assert largest(score, 9).all()


def test_rows_are_taken_in_the_order_asked_for() -> None:
    x = torch.arange(12).view(2, 3, 2)
    assert rows_of(x, torch.tensor([[2, 0], [1, 1]])).tolist() == [
        [[4, 5], [0, 1]],
        [[8, 9], [8, 9]],
    ]


def test_codes() -> None:
    assert importance_codes(torch.tensor([[4.0, 1.0, 0.0], [0, 0, 0]])).tolist() == [
        [4095, 1024, 0],
        [0, 0, 0],
    ]
    assert probability_codes(torch.tensor([1.0, 0.5, 0.0])).tolist() == [4095, 2048, 0]


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_scores_that_are_not_finite_are_refused(value: float, word: str) -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, value]])
    expected = f"^importance of every head must be finite, in layer 4 that of head 1 is {word}$"
    with pytest.raises(InputError, match=expected):
        check_finite(scores, "head", 4)
