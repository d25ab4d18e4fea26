"""Clusters of experts, and who stays of them."""

from __future__ import annotations

import pytest
import torch

from algos.expert.stun import clusters, representatives, router_distance
from workloads.errors import InputError


def test_distance_of_router_rows() -> None:
    router = torch.tensor([[0.0, 0], [3, 4]])
    assert router_distance(router).tolist() == [[0, 5], [5, 0]]
    assert router_distance(router, by_norm=True).tolist() == [[0, 1], [1, 0]]


def test_clusters_by_hand() -> None:
    """Points 0, 1, 3, 10 on a line."""
    points = torch.tensor([[0.0], [1], [3], [10]])
    distance = router_distance(points)
    assert clusters(distance, 4) == [0, 1, 2, 3]
    assert clusters(distance, 3) == [0, 0, 1, 2]
    assert clusters(distance, 2) == [0, 0, 0, 1]
    assert clusters(distance, 2, threshold=3) == [0, 0, 1, 2]  # 0 and 3 are not below 3 apart
    assert clusters(torch.zeros(3, 3), 2) == [0, 0, 1]
    with pytest.raises(InputError, match="distances of experts must be finite"):
        clusters(distance * torch.nan, 2)


def test_who_stays_of_a_cluster() -> None:
    weights = torch.tensor([[0.0], [9], [4], [6], [7]])
    assert representatives([0, 1, 0, 0, 1], weights, 2) == [2, 1]  # mean of 0, 4, 6: 10 / 3
    assert representatives([0, 1, 0, 0, 1], weights, 1) == [2, 1]  # 9 and 7: as near, the first
