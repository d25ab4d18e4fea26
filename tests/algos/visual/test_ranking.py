"""Scores and their best k: by hand, ties, and numbers that are none."""

from __future__ import annotations

import pytest
import torch

from algos.visual.quota import proportional, within_sizes
from algos.visual.ranking import (
    class_attention,
    finite,
    layer_of,
    received_attention,
    top_ids,
    unit_range,
)
from workloads.errors import InputError


def test_ties_keep_the_lowest_ids() -> None:
    score = torch.tensor([[0.5, 0.5, 0.5, 0.5], [1, 3, 3, 3], [0, 0, 9, 0]])
    assert top_ids(score, 2).tolist() == [[0, 1], [1, 2], [0, 2]]


def test_attention_of_the_class_token_and_of_all() -> None:
    attention = torch.tensor(
        [[[0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]], [[0, 1, 0], [1, 0, 0], [0.5, 0, 0.5]]]
    )[None]
    assert torch.allclose(class_attention(attention), torch.tensor([[0.75, 0.15]]))
    assert torch.allclose(received_attention(attention), torch.tensor([[1.9, 2.0]]) / 6)


def test_unit_range_of_equal_scores_is_zero() -> None:
    assert unit_range(torch.full((1, 3), 7.0)).tolist() == [[0, 0, 0]]
    assert torch.allclose(unit_range(torch.tensor([[2.0, 4, 3]])), torch.tensor([[0, 1, 0.5]]))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    score = torch.zeros(2, 4)
    score[1, 3] = bad
    with pytest.raises(InputError, match=rf"luck must be finite, in image 1 that at 3 is {bad}$"):
        finite(score, "luck")


def test_a_layer_that_is_not_there() -> None:
    layers = [torch.zeros(1), torch.ones(1)]
    assert layer_of(layers, -2) is layers[0]
    with pytest.raises(InputError, match=r"must have at least 3 layers, not 2$"):
        layer_of(layers, -3)
    with pytest.raises(InputError, match=r"must have at least 3 layers, not 2$"):
        layer_of(layers, 2)


def test_quota_by_hand() -> None:
    weight = torch.tensor([0.5, 0.3, 0.2])
    assert proportional(weight, 7).tolist() == [4, 2, 1]  # 3.5, 2.1, 1.4; one over
    assert proportional(torch.zeros(3), 4).tolist() == [2, 1, 1]
    # the first takes 2 of its 4; of the 2 over, the second gets 1 and may have no more
    assert within_sizes(weight, [2, 3, 9], 7).tolist() == [2, 3, 2]
    assert within_sizes(torch.tensor([1.0, 0, 0]), [1, 1, 1], 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize("budget", [0, 1, 5, 13, 20])
def test_quota_sums_to_the_budget(budget: int) -> None:
    generator = torch.Generator().manual_seed(budget)
    sizes = [1, 4, 7, 8]
    for _ in range(20):
        quota = within_sizes(torch.rand(4, generator=generator), sizes, budget)
        assert int(quota.sum()) == budget
        assert (quota <= torch.tensor(sizes)).all()
