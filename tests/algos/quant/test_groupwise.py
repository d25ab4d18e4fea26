"""Weights in groups: codes by hand, the search, masks, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from algos.quant.groupwise import best_range, encode, quantize_weight
from algos.weight.pattern import keep_largest
from workloads.errors import InputError
from workloads.packed import WeightFormat, pack, unpack


def form_of(bits: int, sparse: bool = True, group: int = 64) -> WeightFormat:
    return WeightFormat(bits=bits, zero_bits=bits, sparse=sparse, group=group)


def weights(rows: int = 6, columns: int = 128) -> torch.Tensor:
    return 0.1 * torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def test_weights_on_a_grid_come_back() -> None:
    """Group 1 holds every level of zero 1 and scale 1/8, group 2 of zero 3 and scale 1/4."""
    first = torch.tensor([-1.0, 0, 1, 2]).repeat(2) / 8
    second = torch.tensor([-3.0, -2, -1, 0]).repeat(2) / 4
    packed = quantize_weight(torch.cat((first, second))[None], form_of(2, sparse=False, group=8))
    assert packed.scales.tolist() == [[0.125, 0.25]]
    assert packed.zeros.tolist() == [[1, 3]]
    assert packed.codes.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]]
    assert packed.weights().tolist() == [[*first.tolist(), *second.tolist()]]


def test_codes_round_half_to_even_and_are_clamped() -> None:
    found = encode(torch.tensor([0.5, 1.5, 2.5, -0.5, 9, -9]), torch.ones(6), torch.ones(6), 2)
    assert found.tolist() == [1, 3, 3, 1, 3, 0]


def test_the_search_drops_an_outlier_that_costs_more_than_it_is_worth() -> None:
    group = torch.tensor([*[-0.1, 0.1] * 31, 0.0, 0.42])
    scale, zero = best_range(group, 2)
    assert float(scale) < 0.52 / 3 * 0.95
    error = ((encode(group, scale, zero, 2) - zero) * scale - group).square().sum()
    full = torch.tensor(0.52 / 3)
    plain = ((encode(group, full, torch.tensor(1.0), 2) - 1) * full - group).square().sum()
    assert error < plain


def test_importance_moves_the_range() -> None:
    group = torch.tensor([*[-0.1, 0.1] * 31, 0.0, 0.42])
    importance = torch.ones(64)
    importance[-1] = 1e6  # the outlier must be met
    scale, zero = best_range(group, 2, importance)
    value = (encode(group, scale, zero, 2) - zero) * scale
    assert abs(float(value[-1]) - 0.42) < 0.01


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("sparse", [True, False])
def test_the_error_is_small_and_pruned_weights_are_zero(bits: int, sparse: bool) -> None:
    weight = weights()
    mask = keep_largest(weight.abs()) if sparse else None
    packed = quantize_weight(weight, form_of(bits, sparse), mask)
    found = torch.tensor(packed.weights())
    if mask is not None:
        assert (found[~mask] == 0).all()
        weight = weight * mask
    assert packed.scales.shape == packed.zeros.shape == (6, 2)
    relative = float((found - weight).square().sum() / weight.square().sum())
    assert relative < {2: 0.2, 4: 0.01, 8: 1e-4}[bits]


def test_pruned_weights_do_not_widen_the_range() -> None:
    weight = weights()
    mask = keep_largest(weight.abs())
    loud = torch.where(mask, weight, 100.0)
    quiet = quantize_weight(weight, form_of(2), mask)
    assert np.array_equal(quantize_weight(loud, form_of(2), mask).scales, quiet.scales)


@pytest.mark.parametrize("kind", ["dense", "kept"])
def test_groups_of_inputs_or_of_kept_weights_survive_packing(kind: str) -> None:
    form = WeightFormat(group_of=kind)  # type: ignore[arg-type]
    weight = weights()
    packed = quantize_weight(weight, form, keep_largest(weight.abs()))
    assert packed.scales.shape == (6, 2 if kind == "dense" else 1)
    again = unpack(pack(packed), form, 6, 128)
    assert np.array_equal(again.weights(), packed.weights())


def test_a_group_of_zeros() -> None:
    packed = quantize_weight(torch.zeros(1, 64), form_of(2, sparse=False))
    assert not packed.weights().any()
    assert (packed.codes == packed.zeros).all()


def test_bad_input_names_the_layer() -> None:
    with pytest.raises(InputError, match=r"^o_proj: inputs must be a multiple of 64, not 96$"):
        quantize_weight(torch.zeros(1, 96), form_of(2, sparse=False), layer="o_proj")
    wide = torch.tensor([[-3.0, 3.0] * 32])
    sentence = r"^o_proj: the scale of every group must be below 1, not 2\.\d+$"
    with pytest.raises(InputError, match=sentence):
        quantize_weight(wide, form_of(2, sparse=False), layer="o_proj")
    with pytest.raises(InputError, match=r"^o_proj: the scale of every group must be below 1, not"):
        quantize_weight(wide * torch.nan, form_of(2, sparse=False), layer="o_proj")
