"""Clusters of experts, and who stays of them."""

from __future__ import annotations

import torch

from algos.expert.stun import representatives, router_distance


def test_distance_of_router_rows() -> None:
    router = torch.tensor([[0.0, 0], [3, 4]])
    assert router_distance(router).tolist() == [[0, 5], [5, 0]]
    assert router_distance(router, by_norm=True).tolist() == [[0, 1], [1, 0]]


def test_who_stays_of_a_cluster() -> None:
    weights = torch.tensor([[0.0], [9], [4], [6], [7]])
    assert representatives([0, 1, 0, 0, 1], weights, 2) == [2, 1]  # mean of 0, 4, 6: 10 / 3
    assert representatives([0, 1, 0, 0, 1], weights, 1) == [2, 1]  # 9 and 7: as near, the first
