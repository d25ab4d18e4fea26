"""Selections by attention, rows, crops and neighbours: small images by hand."""

from __future__ import annotations

import pytest
import torch

from algos.visual.correlation_guided import densest_parts, information_density
from algos.visual.fastervlm import attended
from algos.visual.fopru import best_rows
from algos.visual.hiprune import anchors_and_registers
from algos.visual.holov import crop_score, holistic


def one_hot(n: int, *tokens: int) -> torch.Tensor:
    score = torch.zeros(1, n)
    for rank, token in enumerate(tokens):
        score[0, token] = 1 - 0.1 * rank
    return score


def test_fastervlm_reads_the_class_row() -> None:
    attention = torch.zeros(1, 2, 4, 4)
    attention[0, :, 0] = torch.tensor([[0.7, 0.1, 0.2, 0], [0, 0.1, 0.3, 0.6]])
    attention[0, :, 1] = torch.tensor([0, 1.0, 0, 0])  # what patches look at does not count
    assert attended(attention, 2).tolist() == [[1, 2]]


def test_fopru_keeps_whole_rows_first() -> None:
    significance = torch.tensor([[9.0, 0, 0], [3, 3, 3], [4, 4, 4]]).reshape(1, 9)
    assert best_rows(significance, (3, 3), 3).tolist() == [[6, 7, 8]]
    assert best_rows(significance, (3, 3), 4).tolist() == [[0, 6, 7, 8]]  # rows tie: the first
    assert best_rows(torch.ones(1, 9), (3, 3), 4).tolist() == [[0, 1, 2, 3]]


def test_hiprune_stays_inside_the_image() -> None:
    """An anchor at the right edge has no neighbour in the next row."""
    middle, deep = one_hot(12, 3), one_hot(12, 11, 10, 3, 9)
    kept = anchors_and_registers(middle, deep, (3, 4), 5, alpha=1)
    assert kept.tolist() == [[2, 3, 7, 10, 11]]  # anchor 3, left 2, below 7, two registers
    kept = anchors_and_registers(middle, deep, (3, 4), 5, alpha=1, compat="authors")
    assert kept.tolist() == [[0, 2, 3, 4, 7]]  # right of 3 is 4, above it 0


def test_hiprune_cuts_to_the_budget() -> None:
    """round(3 * 1 / 5) is 1 anchor with 4 neighbours: 5 tokens for 3."""
    middle = one_hot(9, 4, 1, 5)
    kept = anchors_and_registers(middle, torch.zeros(1, 9), (3, 3), 3, alpha=1)
    assert kept.tolist() == [[1, 4, 5]]


def test_hiprune_without_anchors_keeps_registers() -> None:
    kept = anchors_and_registers(one_hot(9, 4), one_hot(9, 8, 2), (3, 3), 2, alpha=0.1)
    assert kept.tolist() == [[2, 8]]


def test_holov_scores_a_crop() -> None:
    """Two equal tokens and one at a right angle: cosines 1 and 0, variances by hand."""
    x = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    # rows (0, 1, 0): mean 1/2, squares .25 + .25 + .25, over 2: .375; row (0, 0, 0): 0
    variance = torch.tensor([0.375, 0.375, 0])
    attention = torch.tensor([0.003, 0.002, 0.001])
    expected = 1000 * attention + 0.09 * variance * 2 / 0.25
    assert torch.allclose(crop_score(x, attention), expected)


def test_holov_gives_the_surplus_to_other_crops() -> None:
    """All attention in a crop of 2: it gets 4 of 4 and has room for 2."""
    x = torch.ones(1, 6, 3)
    attention = torch.tensor([[0.0, 0, 0.3, 0.7, 0, 0]])
    assert holistic(x, attention, 4, crops=3).tolist() == [[0, 2, 3, 4]]
    assert holistic(x, attention, 4, crops=3, compat="authors").tolist() == [[2, 3, -1, -1]]


def test_holov_of_fewer_tokens_than_crops() -> None:
    x = torch.eye(3)[None]
    attention = torch.tensor([[0.2, 0.5, 0.3]])
    assert sorted(holistic(x, attention, 2, crops=16)[0].tolist()) == [1, 2]
    assert holistic(x[:, :1], attention[:, :1], 1).tolist() == [[0]]


def test_density_counts_what_repeats_nothing() -> None:
    keys = torch.tensor([[[1.0, 0], [2, 0.1], [0, 1], [-1, 0]]])
    assert information_density(keys, 0.9).tolist() == [0.5]
    assert information_density(torch.ones(1, 4, 2)).tolist() == [0]


def test_dense_parts_get_more() -> None:
    """The left half is one pattern, the right half is four: 0 and 4 of the budget."""
    keys = torch.zeros(1, 8, 4)
    left, right = [0, 1, 4, 5], [2, 3, 6, 7]
    keys[0, left] = torch.ones(4)
    keys[0, right] = torch.eye(4)
    attention = one_hot(8, 0, 1, 7, 2)
    assert densest_parts(keys, attention, (2, 4), 2, parts=2).tolist() == [[2, 7]]
    assert densest_parts(keys, attention, (2, 4), 5, parts=1).tolist() == [[0, 1, 2, 3, 7]]


@pytest.mark.parametrize("k", [1, 3, 7, 12])
def test_every_budget_is_met(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    x = torch.randn(4, 12, 5, generator=generator)
    a, b = torch.rand(2, 4, 12, generator=generator)
    for kept in (
        best_rows(a, (3, 4), k),
        anchors_and_registers(a, b, (3, 4), k, alpha=0.9),
        holistic(x, a**8, k, crops=5),
        densest_parts(x, a, (3, 4), k),
    ):
        assert kept.shape == (4, k)
        assert all(len(set(row)) == k and 0 <= min(row) <= max(row) < 12 for row in kept.tolist())
