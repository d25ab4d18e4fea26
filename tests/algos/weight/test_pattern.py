"""N:M masks: by hand, ties, and the masks of other programs."""

from __future__ import annotations

import pytest
import torch

from algos.weight.magnitude import random_score
from algos.weight.pattern import keep_largest
from algos.weight.wanda import input_squares, wanda_score
from workloads.errors import InputError


def test_two_of_four_by_hand() -> None:
    score = torch.tensor([[1.0, 4, 3, 2, 9, 0, 8, 7], [0.0, 0, 1, 2, 5, 5, 5, 5]])
    expected = [[0, 1, 1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 1, 1, 0, 0]]
    assert keep_largest(score).int().tolist() == expected


def test_ties_keep_the_lower_index() -> None:
    assert keep_largest(torch.zeros(1, 8), 3, 8).int().tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]
    assert keep_largest(torch.tensor([[1.0, 2, 1, 2]]), 3).int().tolist() == [[1, 1, 0, 1]]


@pytest.mark.parametrize(("kept", "of"), [(1, 4), (2, 4), (3, 4), (4, 8), (4, 4)])
def test_every_group_keeps_its_number(kept: int, of: int) -> None:
    generator = torch.Generator().manual_seed(0)
    score = random_score(torch.zeros(5, 24), generator)
    mask = keep_largest(score, kept, of)
    groups = mask.view(5, -1, of)
    assert (groups.sum(-1) == kept).all()
    least = score.view_as(groups).masked_fill(~groups, torch.inf).amin(-1)
    most = score.view_as(groups).masked_fill(groups, -torch.inf).amax(-1)
    assert (least >= most).all()


def test_inputs_must_fill_whole_groups() -> None:
    with pytest.raises(InputError, match=r"^fc1: inputs must be a multiple of 4, not 6$"):
        keep_largest(torch.zeros(2, 6), layer="fc1")


def test_wanda_weighs_by_the_norm_of_an_input() -> None:
    inputs = torch.tensor([[[3.0, 1], [4, 1]], [[5, 0], [0, 1]]])  # 2 samples of 2 tokens
    squares = input_squares(inputs)
    assert squares.tolist() == [25, 1.5]
    assert wanda_score(torch.tensor([[-2.0, 4]]), squares)[0, 0] == 10
