"""Prunings measured one after another: what is taken from before changes nothing."""

from __future__ import annotations

import pytest
import torch

from algos.static.base import BlockPruning, PrunedWeight, Pruning
from algos.static.calibrate import next_token
from algos.static.probing import Prober, same
from tests.algos.decoders import random_tokens
from tests.algos.static.models import FAMILIES, random_model
from workloads.capture import find_blocks


def prunings(model_heads: int) -> list[Pruning]:
    """Return prunings of two blocks that share beginnings."""
    heads = torch.arange(model_heads) != 1
    no_heads, no_ffn = BlockPruning(heads=heads), BlockPruning(skip_ffn=True)
    pairs = [(None, no_heads), (no_ffn, None), (no_ffn, no_heads), (no_heads, no_ffn), (None, None)]
    return [Pruning(blocks=tuple(b or BlockPruning() for b in pair)) for pair in pairs]


@pytest.mark.parametrize("family", FAMILIES)
def test_outcomes_are_those_of_a_whole_run(family: str) -> None:
    model, shape, calibration = random_model(family)
    cases = [p for p in prunings(shape.heads) if family != "mixtral" or not p.blocks[0].skip_ffn]
    prober = Prober(model, calibration)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for pruning in [*cases, *cases[::-1]]:
        found, alone = prober(pruning), Prober(model, calibration)._run(pruning, []).outcome
        assert found.losses == alone.losses
        assert all(
            x.equal(y)
            for a, b in zip(found.hidden, alone.hidden, strict=True)
            for x, y in zip(a, b, strict=True)
        )
        assert all(x.equal(y) for x, y in zip(found.outputs, alone.outputs, strict=True))
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())


def test_blocks_before_the_first_difference_do_not_run() -> None:
    model, shape, calibration = random_model("llama")
    prober, ran = Prober(model, calibration), [0, 0]
    first, second, third, fourth, dense = prunings(shape.heads)
    prober(dense)
    for layer, block in enumerate(find_blocks(model)):
        block.self_attn.register_forward_pre_hook(lambda *_, at=layer: ran.__setitem__(at, 1))
    for pruning, expected in (
        (first, [0, 1]),  # begins as the dense model
        (second, [1, 1]),
        (third, [0, 1]),  # begins as the one before
        (third, [0, 0]),
        (fourth, [1, 1]),
        (dense, [0, 0]),
    ):
        ran[:] = 0, 0
        prober(pruning)
        assert ran == expected


def test_decisions_are_compared_number_for_number() -> None:
    def block(value: float) -> BlockPruning:
        weight = PrunedWeight(weight=torch.full((2, 3), value))
        return BlockPruning(weights={"up": weight}, heads=torch.tensor([True, False]))

    assert same(block(1.0), block(1.0))
    assert not same(block(1.0), block(2.0))
    assert not same(block(1.0), BlockPruning())
    assert not same(BlockPruning(heads=torch.ones(2)), BlockPruning(heads=torch.ones(3)))


def test_a_calibration_is_cut_at_a_number_of_tokens() -> None:
    whole = next_token(random_tokens(4, 12))
    assert [len(whole.of_tokens(n).samples) for n in (1, 12, 35, 36, 100)] == [1, 1, 2, 3, 4]
    images = random_model("vit")[2]
    assert images.of_tokens(1).samples == images.samples
