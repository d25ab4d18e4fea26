"""Budgets of parameters: whole units, never above, short by less than one."""

from __future__ import annotations

import pytest
import torch

from algos.structured.budget import (
    Masks,
    Sizes,
    global_masks,
    local_masks,
    ratios_by_layer,
)
from workloads.errors import InputError

SIZES = Sizes(heads=4, kv_heads=2, neurons=10, head_cost=8, kv_cost=8, neuron_cost=3)
WHOLE = 4 * 8 + 2 * 8 + 10 * 3


def scores(seed: int, layers: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(layers, 4, generator=generator), torch.rand(layers, 10, generator=generator)


@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_global_budget(ratio: float, seed: int) -> None:
    masks = global_masks(*scores(seed), SIZES, ratio)
    kept = SIZES.kept(masks)
    assert ratio * 3 * WHOLE - 16 < kept <= ratio * 3 * WHOLE


@pytest.mark.parametrize("ratio", [0.35, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_local_budget(ratio: float, seed: int) -> None:
    masks = local_masks(*scores(seed), SIZES, [ratio, 1, ratio])
    for layer, share in ((0, ratio), (1, 1), (2, ratio)):
        kept = SIZES.kept(Masks(masks.heads[layer : layer + 1], masks.neurons[layer : layer + 1]))
        slack = 16 if masks.neurons[layer].all() else 3
        assert share * WHOLE - slack < kept <= share * WHOLE


def test_a_key_head_is_paid_once() -> None:
    """16 for the first head with its key head, 8 for its neighbour, 16 for the next."""
    heads = torch.tensor([[4.0, 3, 2, 1]])
    kept = {}
    for ratio in (23 / 48, 24 / 48, 39 / 48, 40 / 48):
        kept[ratio] = local_masks(heads, torch.zeros(1, 10), SIZES, [ratio]).heads[0].tolist()
    one, two = [True, False, False, False], [True, True, False, False]
    assert list(kept.values()) == [one, two, two, [True, True, True, False]]


def test_of_equal_scores_the_lowest_stay() -> None:
    masks = global_masks(torch.zeros(1, 4), torch.ones(1, 10), SIZES, 15 / WHOLE)
    assert masks.neurons[0].tolist() == [True] * 5 + [False] * 5
    assert not masks.heads.any()


def test_a_budget_that_holds_nothing() -> None:
    masks = local_masks(torch.tensor([[0.0, 2, 1, 0]]), torch.zeros(1, 10), SIZES, [0.1])
    assert not masks.heads.any()  # 7.8 do not hold a head, but two neurons
    assert masks.neurons[0].tolist() == [True, True] + [False] * 8
    assert not local_masks(torch.ones(1, 4), torch.ones(1, 10), SIZES, [0.0]).neurons.any()
    with pytest.raises(InputError, match=r"must hold the best head or neuron, 0\.01 does not$"):
        global_masks(torch.ones(1, 4), torch.zeros(1, 10), SIZES, 0.01)


def test_neurons_pay_for_a_head_that_is_too_dear() -> None:
    """A head with its key head costs 16; 0.25 of attention is 12 and of the neurons 7.5."""
    masks = local_masks(torch.ones(1, 4), torch.ones(1, 10), SIZES, [0.25])
    assert masks.heads.sum() == 1
    assert masks.neurons.sum() == 1  # 19.5 - 16 holds one neuron of 3


def test_neurons_get_what_heads_leave() -> None:
    """0.6 of all is 46.8; 0.6 of attention 28.8 holds 24 for two heads of a key head."""
    masks = local_masks(torch.ones(1, 4), torch.ones(1, 10), SIZES, [0.6])
    assert masks.heads.sum() == 2
    assert masks.neurons.sum() == 7


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_scores_must_be_finite(bad: float) -> None:
    heads, neurons = scores(0)
    neurons[1, 7] = bad
    with pytest.raises(
        InputError, match=f"neuron must be finite, in layer 1 that of neuron 7 is {bad}"
    ):
        global_masks(heads, neurons, SIZES, 0.5)
    with pytest.raises(InputError, match="neuron must be finite, in layer 1"):
        local_masks(heads, neurons, SIZES, [0.5] * 3)


def test_layers_kept_whole_are_paid_by_the_others() -> None:
    assert ratios_by_layer(0.5, 4, [0]) == [1, 1 / 3, 1 / 3, 1 / 3]
    with pytest.raises(InputError, match=r"at least 0\.5 with 2 of 4 layers kept whole, not 0\.4$"):
        ratios_by_layer(0.4, 4, [0, 3])
