"""Quantisation, the two planes of K, and which queries are computed twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algos.base import Precision
from algos.quant.progressive import at_precision, progressive_probability, quantize
from workloads.attention import attention_probability
from workloads.step import AttentionStep


def step_of(query: Any, key: Any) -> AttentionStep:
    ids = torch.arange(query.shape[2]).expand(len(query), -1)
    return AttentionStep(
        layer=0,
        step=0,
        query=query,
        key=key,
        value=key,
        scale=0.5,
        mask=None,
        query_ids=ids,
        key_ids=ids,
        tokens_dense=query.shape[2],
    )


def test_codes_by_hand() -> None:
    codes = quantize(torch.tensor([[[[7.0, -7.0, 3.4, 0.5]]]]), 4)  # scale 1
    assert codes.code.flatten().tolist() == [7, -7, 3, 0]
    # two low bits cleared by an arithmetic shift: -7 = 0b1001 becomes 0b1000 = -8
    assert codes.msb(2).code.flatten().tolist() == [4, -8, 0, 0]


def test_scales_belong_to_a_sequence_and_head() -> None:
    x = torch.tensor([1.0, 100.0]).view(1, 2, 1, 1)
    assert quantize(x, 8).code.flatten().tolist() == [127, 127]
    assert at_precision(x, 8).flatten().tolist() == pytest.approx([1, 100])


def test_zeros_stay_zeros() -> None:
    assert torch.equal(at_precision(torch.zeros(1, 2, 3, 4), 8), torch.zeros(1, 2, 3, 4))


@pytest.mark.parametrize("bits", [2, 5, 8, 12, 16])
def test_the_error_is_at_most_half_a_step(bits: int) -> None:
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    codes = quantize(x, bits)
    assert codes.code.abs().max() <= 2 ** (bits - 1) - 1
    assert ((codes.value - x).abs() <= codes.scale * 0.5001).all()


def test_32_bits_are_the_numbers_themselves() -> None:
    x = torch.randn(1, 1, 2, 2)
    assert at_precision(x, 32) is x


@pytest.fixture
def step() -> AttentionStep:
    generator = torch.Generator().manual_seed(2)
    return step_of(*(3 * torch.randn(2, 3, 6, 8, generator=generator) for _ in range(2)))


def test_only_unsure_queries_are_recomputed(step: AttentionStep) -> None:
    precision = Precision(q_bits=12, k_bits=4, v_bits=8, k_lsb_bits=4)
    query, key = at_precision(step.query, 12), quantize(step.key, 8)
    coarse = attention_probability(query, key.msb(4).value, step.scale, None)
    fine = attention_probability(query, key.value, step.scale, None)
    found, unsure = progressive_probability(step, precision, 0.6)
    assert torch.equal(unsure, coarse.amax(-1) < 0.6)
    assert 0 < unsure.sum() < unsure.numel()
    assert torch.equal(found[unsure], fine[unsure])
    assert torch.equal(found[~unsure], coarse[~unsure])


def test_extreme_thresholds(step: AttentionStep) -> None:
    precision = Precision(q_bits=12, k_bits=6, v_bits=8, k_lsb_bits=4)
    assert not progressive_probability(step, precision, 0.0)[1].any()
    probability, unsure = progressive_probability(step, precision, 1.0)
    assert torch.equal(unsure, probability.amax(-1) < 1)  # only a certain query is not


def test_without_lsbs_nothing_is_recomputed(step: AttentionStep) -> None:
    precision = Precision(q_bits=12, k_bits=12, v_bits=8)
    found, unsure = progressive_probability(step, precision, 1.0)
    plain = attention_probability(
        at_precision(step.query, 12), at_precision(step.key, 12), step.scale, None
    )
    assert not unsure.any()
    assert torch.equal(found, plain)
