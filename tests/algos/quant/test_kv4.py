"""KV4: codes by hand, one scale a token and head, and the ranges that are refused."""

from __future__ import annotations

import pytest
import torch

from algos.quant.kv4 import V_SCALE_LIMIT, quantize_kv
from workloads.errors import InputError


def test_codes_by_hand() -> None:
    codes = quantize_kv(torch.tensor([-3.0, 4.5, 0, 0.25, 0.75]), "layer 0")  # scale 1/2
    assert codes.scale.tolist() == [0.5]
    assert codes.zero.tolist() == [6]
    assert codes.code.tolist() == [0, 15, 6, 6, 8]  # 0.5 and 1.5 steps: half to even
    assert codes.value.tolist() == [-3, 4.5, 0, 0, 1]


def test_the_range_holds_zero() -> None:
    codes = quantize_kv(torch.tensor([[5.0, 6.0], [-6.0, -5.0], [0.0, 0.0]]), "layer 0")
    assert codes.zero.flatten().tolist() == [0, 15, 0]
    assert (codes.value - torch.tensor([[5.0, 6], [-6, -5], [0, 0]])).abs().max() < 0.21


def test_scales_are_fp16_and_belong_to_a_token_and_head() -> None:
    x = torch.randn(2, 3, 5, 32, generator=torch.Generator().manual_seed(0))
    codes = quantize_kv(x, "layer 0")
    assert codes.scale.shape == codes.zero.shape == (2, 3, 5, 1)
    assert torch.equal(codes.scale.half().float(), codes.scale)
    assert torch.equal(quantize_kv(x[1, 2, 4], "layer 0").value, codes.value[1, 2, 4])
    assert codes.code.min() == 0
    assert codes.code.max() == 15
    assert ((codes.value - x).abs() <= 1.01 * codes.scale).all()  # half a step, and the zero's


def test_an_overflow_names_the_layer() -> None:
    sentence = r"^layer 3: the scale of K or V must be a finite FP16 number below inf, not inf$"
    with pytest.raises(InputError, match=sentence):
        quantize_kv(torch.tensor([0.0, 1e7]), "layer 3")
    with pytest.raises(InputError, match=r"^layer 3: .* below 64, not 66\.\d+$"):
        quantize_kv(torch.tensor([0.0, 1000.0]), "layer 3", V_SCALE_LIMIT)
    with pytest.raises(InputError, match=r"^layer 3: "):
        quantize_kv(torch.tensor([0.0, torch.nan]), "layer 3")
