"""Scores of neurons and heads, each by hand."""

from __future__ import annotations

import pytest
import torch

from algos.structured import adapt_pruner, cfsp, comp, llm_pruner, lrp, maw, obspa, optin
from workloads.errors import InputError


def test_cfsp_scores_by_hand() -> None:
    """One output, two neurons: each column's shares are 1 in gate and up, s in down."""
    score = cfsp.neuron_scores(
        torch.tensor([[1.0], [5]]),
        torch.tensor([[2.0], [2]]),
        torch.tensor([[3.0, 4]]),
        torch.tensor([4.0, 9]),
    )
    assert torch.allclose(score, torch.tensor([(2 + 2) * 2.0, (3 + 2) * 3.0]))
    without = cfsp.neuron_scores(None, torch.ones(2, 1), torch.zeros(1, 2), torch.ones(2))
    assert torch.equal(without, torch.ones(2))  # no weight in down: no share, and no division by 0


def test_cfsp_ratios_keep_their_mean() -> None:
    importance = torch.tensor([0.0, 10000, 20000], dtype=torch.float64)
    ratios = cfsp.layer_ratios(importance, 0.5, 1.0)
    assert torch.isclose(ratios.mean(), torch.tensor(0.5, dtype=torch.float64))
    assert ratios[0] < ratios[1] < ratios[2]
    assert torch.allclose(ratios[2] / ratios[1], 2 * torch.tensor(1.0).double().sigmoid())
    most = cfsp.layer_ratios(importance, 0.9, 2.0)
    assert torch.isclose(most.max(), torch.tensor(1.0, dtype=torch.float64))
    assert torch.isclose(most.mean(), torch.tensor(0.9, dtype=torch.float64))


def test_cfsp_authors_keep_one_more() -> None:
    mask = cfsp.authors_masks(torch.tensor([[1.0, 3, 2, 2]]), torch.tensor([0.5]))
    assert mask[0].tolist() == [False, True, True, True]


def test_taylor_orders_by_hand() -> None:
    """One matrix, one unit: w (1, 2), g (3, -1), h (4, 2)."""
    w, g, h = (torch.tensor([x]) for x in ([1.0, 2], [3.0, -1], [4.0, 2]))
    found = {
        order: float(llm_pruner.taylor_score((w,), (g,), (h,), order))
        for order in ("vectorize", "param_first", "param_second", "param_mix")
    }
    assert found == {"vectorize": 1, "param_first": 5, "param_second": 12, "param_mix": 1 + 6}
    twice = llm_pruner.taylor_score((w, w), (g, -g), None, "vectorize")
    assert float(twice) == 2  # the absolute value is taken in each matrix


def test_maw_by_hand() -> None:
    gate, up = torch.tensor([[1.0, -5], [0, 0]]), torch.tensor([[2.0, 1], [-3, 1]])
    assert maw.neuron_scores(gate, up).tolist() == [7, 3]
    assert maw.neuron_scores(None, up).tolist() == [2, 3]


def test_obs_cost_is_the_error_after_repair() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    inputs[:, 1] = inputs[:, 0] + 0.1 * inputs[:, 1]
    weight = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    hessian = inputs.T @ inputs
    inverse = obspa.inverse_hessian(hessian)
    costs = obspa.column_costs(weight, inverse)
    for column in range(6):
        keep = torch.arange(6) != column
        repaired = obspa.repaired(weight, inverse, keep)
        assert (repaired[:, column] == 0).all()
        damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(6)
        change = repaired - weight
        error = ((change @ damped) * change).sum()
        assert torch.isclose(error, costs[column].double(), rtol=1e-4)
    keep = torch.tensor([False, True, True, False, True, True])
    repaired, cut = obspa.repaired(weight, inverse, keep), weight * keep
    errors = [(inputs @ (x - weight).T).square().sum() for x in (repaired, cut)]
    assert errors[0] < 0.6 * errors[1]
    assert obspa.repaired(weight, inverse, torch.ones(6, dtype=torch.bool)) is weight
    with pytest.raises(InputError, match=r"^fc2: the Hessian of the inputs must be finite"):
        obspa.inverse_hessian(hessian * torch.nan, "fc2")


def test_row_cost_is_the_energy_of_the_output() -> None:
    inputs, weight = torch.randn(20, 4), torch.randn(3, 4)
    energy = (inputs @ weight.T).square().sum(0)
    assert torch.allclose(obspa.row_costs(weight, inputs.T @ inputs), energy, rtol=1e-4)


def test_relevance_keeps_its_sign_within_a_sample() -> None:
    inputs, gradient = torch.tensor([[1.0, 2, 1, 0], [1, 1, 1, 0]]), torch.ones(2, 4)
    gradient[1] = -1
    assert lrp.sample_relevance(inputs, gradient, 2).tolist() == [1, 0]


def test_condition_scores_by_hand() -> None:
    """x = (3, 4), w = 1, 1: y = 7; shares 3/7 and 4/7."""
    x = torch.tensor([[3.0, 4]])
    found = comp.condition_scores(torch.ones(1, 2), x.T @ x)
    assert torch.allclose(found, torch.tensor([3.0, 4]) / 7)


def test_tuned_masks_are_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 5, generator=generator)
    inputs[:, 1] = inputs[:, 0]  # the same input twice
    weight = torch.randn(4, 5, generator=generator)
    weight[:, 1] = weight[:, 0]
    keep = torch.tensor([True, False, True, True, True])
    factors = comp.tuned_mask(weight, inputs.T @ inputs, keep)
    assert torch.allclose(factors, torch.tensor([2.0, 0, 1, 1, 1]), atol=1e-3)


def test_a_step_spares_important_layers_and_keeps_its_mean() -> None:
    shares = torch.tensor([0.9, 0.9, 0.9])
    after = adapt_pruner.step_down(shares, torch.tensor([0.0, 1, 0.5]), 0.1, 0.5)
    assert torch.allclose(after, torch.tensor([0.75, 0.85, 0.8]))
    equal = adapt_pruner.step_down(shares, torch.ones(3), 0.1, 0.5)
    assert torch.allclose(equal, torch.tensor([0.8, 0.8, 0.8]))


def test_what_a_layer_lacks_the_others_give() -> None:
    after = adapt_pruner.step_down(torch.tensor([0.1, 0.8, 0.6]), torch.ones(3), 0.2, 0.5)
    assert torch.allclose(after, torch.tensor([0.0, 0.55, 0.35]))


def test_trajectory_error_ignores_scale_and_sums_layers() -> None:
    hidden = torch.eye(2).view(1, 1, 2, 2)
    assert optin.trajectory_error(hidden, 3 * hidden) == 0
    same = torch.tensor([[[[1.0, 0], [1, 0]]]])  # both tokens alike: 2 of 4 relations are 1, not 0
    assert optin.trajectory_error(hidden, same) == pytest.approx(0.5)
    twice = optin.trajectory_error(hidden.repeat(2, 1, 1, 1), same.repeat(2, 1, 1, 1))
    assert twice == pytest.approx(1.0)
