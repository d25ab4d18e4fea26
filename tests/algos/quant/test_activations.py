"""A8: codes by hand, range, and overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from algos.quant.activations import at_8_bits, quantize_activations
from workloads.errors import InputError


def test_codes_by_hand() -> None:
    codes, scale = quantize_activations(torch.tensor([[127.0, -127, 2.5, 3.5], [0, 0, 0, 0]]), "x")
    assert codes.tolist() == [[127, -127, 2, 4], [0, 0, 0, 0]]  # half to even
    assert scale.tolist() == [[1], [1]]


def test_a_token_does_not_see_its_neighbours() -> None:
    x = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    whole = at_8_bits(x, "x")
    alone = at_8_bits(x[1, 2], "x")
    assert torch.equal(whole[1, 2], alone)
    codes, scale = quantize_activations(x, "x")
    assert scale.shape == (2, 3, 1)
    assert (codes.abs().amax(-1) == 127).all()
    assert ((whole - x).abs() <= 0.5001 * scale).all()


def test_numpy_in_float32_gives_the_same_codes() -> None:
    x = torch.randn(64, 96, generator=torch.Generator().manual_seed(1)) * 3
    codes, scale = quantize_activations(x, "x")
    own = np.abs(x.numpy()).max(-1, keepdims=True) / np.float32(127)
    assert np.array_equal(scale.numpy(), own)
    assert np.array_equal(codes.numpy(), np.clip(np.rint(x.numpy() / own), -127, 127))


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_an_overflow_names_the_layer(bad: float) -> None:
    x = torch.zeros(2, 8)
    x[1, 3] = bad
    with pytest.raises(InputError, match=r"^down: activations must be finite numbers, they overf"):
        quantize_activations(x, "down")
