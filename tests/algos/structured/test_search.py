"""Searches by the distance or loss of the pruned model."""

from __future__ import annotations

import pytest
import torch

from algos.structured.axformer import hindering
from algos.structured.parts import Part
from algos.structured.tyr import coarse_to_fine
from workloads.errors import InputError


def test_the_search_finds_the_ratios_and_keeps_the_mean() -> None:
    wanted = torch.tensor([0.75, 0.5, 0.25])
    generator = torch.Generator().manual_seed(0)

    def distance(shares: tuple[float, ...]) -> float:
        assert sum(shares) == pytest.approx(1.5)
        return float((torch.tensor(shares) - wanted).square().sum())

    found = coarse_to_fine(3, 0.5, distance, generator, step=0.25, rounds=3, tries=20)
    assert found == pytest.approx((0.75, 0.5, 0.25))


def test_shares_stay_between_none_and_all() -> None:
    def distance(shares: tuple[float, ...]) -> float:
        assert 0 < min(shares) <= max(shares) <= 1
        return -shares[0]

    generator = torch.Generator().manual_seed(0)
    found = coarse_to_fine(2, 0.7, distance, generator, step=0.2, rounds=4, tries=10)
    assert found[0] > 0.95
    assert coarse_to_fine(1, 0.7, distance, generator, step=0.2, rounds=2, tries=3) == (0.7,)


WHOLE = [Part("attention", 0), Part("attention", 1)]
HEADS = [Part("attention", layer, head, 1) for layer in (0, 1) for head in (0, 1)]
PARTS = WHOLE[::-1] + HEADS[::-1]


def kept(removed: frozenset[Part]) -> int:
    """Count 2 a head that is left."""
    return sum(2 for part in HEADS if part not in removed and WHOLE[part.layer] not in removed)


def test_parts_that_hinder_go_large_ones_first() -> None:
    """All of layer 1 does nothing; of layer 0 head 1 does least."""
    costs = {WHOLE[0]: 1.1, HEADS[0]: 1.0, HEADS[1]: 0.1}

    def loss(removed: frozenset[Part]) -> float:
        return 2.0 + sum(costs.get(part, 0) for part in removed)

    assert hindering(PARTS, kept, loss, 2.0, 4, 0.01) == {WHOLE[1]}
    assert hindering(PARTS, kept, loss, 2.0, 2, 0.01) == {WHOLE[1], HEADS[1]}


def test_a_large_part_does_not_exceed_the_budget() -> None:
    found = hindering(PARTS, kept, lambda removed: 1.0, 1.0, 6, 0.01)
    assert found == {HEADS[3]}


def test_a_part_is_measured_again_only_when_it_could_go() -> None:
    asked: list[frozenset[Part]] = []

    def loss(removed: frozenset[Part]) -> float:
        asked.append(removed)
        return 1 + sum(0.5 + 0.2 * HEADS.index(part) for part in removed)

    assert hindering(HEADS[::-1], kept, loss, 1.0, 6, 0.1) == {HEADS[1]}
    assert asked == [frozenset({part}) for part in HEADS[::-1]] + [frozenset({HEADS[1]})]


def test_losses_must_be_finite() -> None:
    with pytest.raises(InputError, match="must be finite, it is nan"):
        hindering(PARTS, kept, lambda removed: float("nan"), 1.0, 4, 0.01)
