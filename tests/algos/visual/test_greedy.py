"""Greedy selections on vectors of a plane, where distances are seen at once."""

from __future__ import annotations

import math

import pytest
import torch

from algos.visual.agile_pruner import attended_then_diverse, complexity, effective_rank
from algos.visual.divprune import farthest
from algos.visual.greedy import cosine
from algos.visual.idpruner import relevant
from algos.visual.todre import diversified
from algos.visual.zoo_prune import sensitive_and_diverse, sensitivity
from workloads.errors import InputError


def directions(*degrees: float) -> torch.Tensor:
    """Return unit vectors (1, n, 2)."""
    angles = [math.radians(d) for d in degrees]
    return torch.tensor([[[math.cos(a), math.sin(a)] for a in angles]])


def test_divprune_starts_with_the_loneliest() -> None:
    # 90 is 35 degrees from its nearest, the others less; then 0; then 55, 35 from 90
    assert farthest(directions(0, 25, 30, 55, 90), 3)[0].tolist() == [4, 0, 3]


def test_divprune_repeats_no_token_among_duplicates() -> None:
    x = directions(0, 40, 80, 120).repeat(1, 5, 1)
    assert len(set(farthest(x, 10)[0].tolist())) == 10


def test_todre_goes_by_the_sum() -> None:
    x = directions(0, 60, 120, 200)
    pivot = torch.tensor([[0.1, 0.4, 0.3, 0.2]])
    # from 60: cosines .5, .5, -.77; with 200 the sums of 0 and 120 are -.44 and .67
    assert diversified(pivot, x, 4)[0].tolist() == [1, 3, 0, 2]


def test_idpruner_weighs_importance_and_likeness() -> None:
    x, importance = directions(0, 5, 90, 180), torch.tensor([[1.0, 0.9, 0.5, 0]])
    assert relevant(importance, x, 2, weight=1)[0].tolist() == [0, 1]
    assert relevant(importance, x, 2, weight=0)[0].tolist() == [0, 3]
    # .5 * .9 - .5 * .996 < .5 * 0 + .5 * 1; .5 * .5 is less than that too
    assert relevant(importance, x, 3, weight=0.5)[0].tolist() == [0, 3, 2]
    assert relevant(importance, x, 2, weight=0, at_once=2)[0].tolist() == [0, 1]


def test_zoo_prune_measures_the_projector() -> None:
    """A linear projector with one live input passes on that input's share of a direction."""
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    x = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(5))

    def project(features: torch.Tensor) -> torch.Tensor:
        return features * torch.tensor([3.0, 0]) * torch.tensor([1.0, 1, 2])[:, None]

    found = sensitivity(x, project, generators, directions=4000, step=0.01)
    expected = 3 * 2 / math.pi * torch.tensor([1.0, 1, 2])  # mean |cos| is 2 / pi
    assert torch.allclose(found, expected.expand(2, -1), rtol=0.05)


def test_zoo_prune_multiplies_by_distance() -> None:
    score = torch.tensor([[1.0, 0.9, 0.5, 0.1]])
    # after 0: .9 * .004, .5 * 1, .1 * 2 (sensitivity scaled to 1, .89, .44, 0)
    assert sensitive_and_diverse(score, directions(0, 5, 90, 180), 3)[0].tolist() == [0, 2, 1]


def test_effective_rank_counts_directions() -> None:
    equal = torch.ones(1, 6, 4)
    spread = torch.eye(4)[None]
    assert effective_rank(equal).item() == pytest.approx(1, abs=1e-3)
    assert effective_rank(spread).item() == pytest.approx(4)
    even, peaked = torch.full((1, 4), 0.25), torch.tensor([[1.0, 0, 0, 0]])
    assert complexity(spread, even).item() == pytest.approx(1)
    assert complexity(torch.ones(1, 4, 4), peaked).item() == pytest.approx(0, abs=1e-3)
    assert complexity(torch.ones(1, 1, 4), torch.ones(1, 1)).item() == 0


def test_agile_pruner_mixes_by_image() -> None:
    x = directions(0, 25, 30, 55, 90).expand(3, -1, -1)
    attention = torch.tensor([[0.1, 0.3, 0.4, 0.2, 0]]).expand(3, -1)
    picks = attended_then_diverse(x, attention, 3, torch.tensor([0.0, 1, 0.34]))
    assert sorted(picks[0].tolist()) == [1, 2, 3]  # attention alone
    assert picks[1].tolist() == [4, 0, 3]  # as DivPrune
    assert picks[2].tolist() == [1, 2, 4]  # the two most attended, then the farthest


@pytest.mark.parametrize("k", [1, 4, 9])
def test_all_equal_tokens_are_kept_once_each(k: int) -> None:
    x, score = torch.ones(2, 9, 4), torch.full((2, 9), 0.1)
    even = torch.full((2,), 0.5)
    for picks in (
        farthest(x, k),
        diversified(score, x, k),
        relevant(score, x, k),
        sensitive_and_diverse(score, x, k),
        attended_then_diverse(x, score, k, even),
    ):
        assert picks.shape == (2, k)
        assert all(len(set(row)) == k for row in picks.tolist())


def test_features_must_be_finite() -> None:
    x = torch.ones(1, 3, 2)
    x[0, 2, 1] = torch.nan
    with pytest.raises(
        InputError,
        match=r"^every value of features must be finite, in image 0 that at 2, 1 is nan$",
    ):
        cosine(x)


def test_a_zero_vector_is_like_none() -> None:
    x = torch.tensor([[[0.0, 0], [1, 0]]])
    assert cosine(x)[0].tolist() == [[0, 0], [0, 1]]
