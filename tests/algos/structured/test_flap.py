"""FLAP by hand: statistics, scores, thresholds and the bias."""

from __future__ import annotations

import torch

from algos.structured.flap import authors_adaptive, authors_uniform
from algos.structured.fluctuation import (
    adaptive_scores,
    bias_compensation,
    running_statistics,
    standardised,
    wifn,
    wifv,
)


def test_the_authors_fluctuation() -> None:
    """Samples 0, 2, 4 of one token: means 0, 1, 2."""
    mean, fluctuation = running_statistics(list(torch.tensor([0.0, 2, 4]).view(3, 1, 1)))
    # second sample: (2 - 1)^2 / 2; third: half of that, and (4 - 2)^2 / 3
    assert float(mean) == 2
    assert torch.isclose(fluctuation, torch.tensor(0.25 + 4 / 3))


def test_scores_by_hand() -> None:
    weight = torch.tensor([[1.0, 2], [3, 0]])
    assert torch.equal(wifv(weight, torch.tensor([2.0, 3])), torch.tensor([20.0, 12]))
    assert torch.equal(wifn(weight, torch.tensor([4.0, 9])), torch.tensor([4.0, 3]))


def test_equal_scores_standardise_to_zero() -> None:
    assert torch.equal(standardised(torch.ones(2, 3)), torch.zeros(2, 3))
    assert torch.allclose(standardised(torch.tensor([[1.0, 3]])), torch.tensor([[-1, 1]]) / 2**0.5)


def test_head_scores_are_means_of_squares() -> None:
    heads, _ = adaptive_scores(torch.tensor([[1.0, 1, 2, 2]]), torch.ones(1, 3), 2)
    expected = standardised(torch.tensor([[1.0, 1, 4, 4]]))
    assert torch.allclose(heads, expected[:, ::2])


def test_the_threshold_itself_is_pruned() -> None:
    """Costs in order of score: neuron 1, head 2 (4 * 2 / 3 cut), neurons 1, 1: 5 in all."""
    heads, neurons = torch.tensor([[3.0]]), torch.tensor([[4.0, 2, 1]])
    masks = authors_adaptive(heads, neurons, 0.4, head_dim=2)  # 3 of 5: up to the head
    assert not masks.heads.any()
    assert masks.neurons[0].tolist() == [True, False, False]


def test_a_head_costs_four_thirds_of_its_channels_cut_to_an_integer() -> None:
    """Costs 1, 2, 1, 1, 1, 1: of 7, 0.7 is nearest to the first 5, whose last is the threshold."""
    neurons = torch.tensor([[4.0, 2, 1, 0.5, 0.2]])
    masks = authors_adaptive(torch.tensor([[3.0]]), neurons, 0.3, head_dim=2)
    assert masks.heads.all()
    assert masks.neurons[0].tolist() == [True, True, False, False, False]


def test_uniform_layers_keep_one_more_by_rounding() -> None:
    masks = authors_uniform(torch.tensor([[1.0, 0, 2, 1]]), torch.arange(3.0)[None], 2, 0.5)
    assert masks.heads[0].tolist() == [False, True]
    assert masks.neurons[0].tolist() == [False, True, True]


def test_the_bias_stands_in_for_pruned_means() -> None:
    weight = torch.tensor([[1.0, 2], [3, 4]])
    bias = bias_compensation(weight, torch.tensor([10.0, 1]), torch.tensor([True, False]))
    assert torch.equal(bias, torch.tensor([2.0, 4]))
