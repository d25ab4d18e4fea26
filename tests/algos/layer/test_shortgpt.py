"""Which blocks go: by influence, and greedily."""

from __future__ import annotations

import pytest
import torch

from algos.layer.greedy import greedy_removal
from algos.layer.shortgpt import angular_distance, block_influence, blocks_to_drop
from workloads.errors import InputError


def test_influence_by_hand() -> None:
    before = torch.tensor([[1.0, 0], [1, 0], [2, 0], [0, 0]])
    after = torch.tensor([[1.0, 0], [0, 3], [-1, 0], [1, 1]])
    assert torch.allclose(block_influence(before, after), torch.tensor([0, 1, 2, 0.5]))
    assert torch.allclose(angular_distance(before, after), torch.tensor([0, 0.5, 1, 1 / 3]))


def test_the_least_influential_go() -> None:
    influence = torch.tensor([3.0, 1, 2, 1])
    assert blocks_to_drop(influence, 0.75) == [1]  # of equals the lower
    assert blocks_to_drop(influence, 0.5) == [1, 3]
    assert blocks_to_drop(influence, 0.01) == [1, 2, 3]
    assert blocks_to_drop(influence, 1.0) == []
    with pytest.raises(InputError, match="of block 2 is nan"):
        blocks_to_drop(torch.tensor([1.0, 1, torch.nan]), 0.5)


def test_greedy_looks_again_after_each_removal() -> None:
    """a and b stand in for each other: either may go, not both."""
    distances = {"a": 1.0, "b": 1.1, "c": 2.0}

    def distance(removed: frozenset[str]) -> float:
        return sum(distances[part] for part in removed) + 10 * ({"a", "b"} <= removed)

    costs = {"a": 2, "b": 2, "c": 2}
    assert greedy_removal(costs, 2 / 3, distance) == ["a"]
    assert greedy_removal(costs, 0.5, distance) == ["a", "c"]
    assert greedy_removal(costs, 1.0, distance) == []
    with pytest.raises(InputError, match="without b must be finite, it is inf"):
        greedy_removal({"b": 1}, 0.5, lambda removed: float("inf"))
