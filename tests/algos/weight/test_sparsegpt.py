"""SparseGPT: by hand, and joint quantisation against rounding alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from algos.quant.groupwise import quantize_weight
from algos.weight.joint import prune_and_quantize
from algos.weight.pattern import keep_largest
from algos.weight.sparsegpt import hessian_of, prune
from workloads.errors import InputError
from workloads.packed import WeightFormat

Case = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def case() -> Case:
    """Weights (24, 256) and inputs (4, 64, 256) that depend on each other."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(256, 256, generator=generator) * torch.rand(256, generator=generator)
    inputs = torch.randn(4, 64, 256, generator=generator) @ mix
    return 0.1 * torch.randn(24, 256, generator=generator), inputs


def loss(case: Case, changed: torch.Tensor) -> float:
    weight, inputs = case
    return float((inputs @ (weight - changed).T).square().mean())


def is_2_of_4(weight: torch.Tensor) -> bool:
    return bool(((weight.view(len(weight), -1, 4) != 0).sum(-1) <= 2).all())


def test_one_quad_by_hand() -> None:
    """Equal costs: the two smallest go, and the later kept weight makes up for the earlier drop."""
    hessian = torch.tensor([[2.0, 1, 0, 0], [1, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]])
    found = prune(torch.tensor([[0.1, 3.0, 0.2, 5.0]]), hessian)
    # dropping w0 moves w1 by w0 * H01 / H11, with 0.01 * 2 of damping on the diagonal
    np.testing.assert_allclose(found, [[0, 3 + 0.1 / 2.02, 0, 5]], rtol=1e-6)


def test_pruning_repairs(case: Case) -> None:
    weight, inputs = case
    pruned = prune(weight, hessian_of(inputs))
    assert is_2_of_4(pruned)
    assert loss(case, pruned) < 0.5 * loss(case, weight * keep_largest(weight.abs()))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("group", [64, 128, 0])
def test_joint_quantisation_beats_rounding(case: Case, bits: int, group: int) -> None:
    weight, inputs = case
    hessian = hessian_of(inputs)
    form = WeightFormat(bits=bits, zero_bits=bits, group=group)
    joint = prune_and_quantize(weight, hessian, form)
    found = torch.tensor(joint.weights())
    assert is_2_of_4(found)
    assert joint.codes.max() <= 2**bits - 1
    pruned = prune(weight, hessian)
    if bits == 8:  # nothing to win by rounding well: both are the pruned weights
        assert loss(case, found) == pytest.approx(loss(case, pruned), rel=0.03)
        return
    rounded = torch.tensor(quantize_weight(pruned, form, pruned != 0).weights())
    assert loss(case, found) < loss(case, rounded)


def test_an_input_that_is_always_zero_loses_its_weights(case: Case) -> None:
    weight, inputs = case
    inputs = inputs.clone()
    inputs[..., 5] = 0
    assert (prune(weight, hessian_of(inputs))[:, 5] == 0).all()
    form = WeightFormat()
    assert (prune_and_quantize(weight, hessian_of(inputs), form).weights()[:, 5] == 0).all()


def test_the_hessian_stays_as_it_was(case: Case) -> None:
    hessian = hessian_of(case[1]).double()
    before = hessian.clone()
    prune(case[0], hessian)
    assert torch.equal(hessian, before)


def test_bad_input_names_the_layer(case: Case) -> None:
    weight, inputs = case
    with pytest.raises(InputError, match=r"^fc2: inputs on the calibration text must be finite"):
        prune(weight, hessian_of(inputs) * torch.nan, layer="fc2")
    with pytest.raises(InputError, match=r"^fc2: inputs must be a multiple of 64, not 32$"):
        prune_and_quantize(weight[:, :32], torch.eye(32), WeightFormat(), "fc2")
    with pytest.raises(InputError, match=r"^fc2: inputs must be a multiple of 4, not 6$"):
        prune(weight[:, :6], torch.eye(6), layer="fc2")
