"""Importance, use and likeness of heads, each by hand."""

from __future__ import annotations

import torch

from algos.head import dha, michel, shrp


def test_gradient_importance_is_absolute_by_token() -> None:
    """Two tokens whose products cancel: 3 and -3."""
    context = torch.tensor([[[1.0, 2]], [[1, 2]]])
    gradient = torch.tensor([[[1.0, 1]], [[-1, -1]]])
    assert michel.head_importance(context, gradient).tolist() == [3]
    layers = michel.normalised(torch.tensor([[3.0, 4], [0, 0]]))
    assert torch.allclose(layers, torch.tensor([[0.6, 0.8], [0, 0]]))


def test_usage_is_the_share_of_top_1_choices() -> None:
    chosen = torch.tensor([[1.0, 2], [3, 3], [0, 1], [5, 1]])
    assert shrp.usage(chosen).tolist() == [0.5, 0.5]


def test_contribution_is_the_norm_of_what_a_head_adds() -> None:
    context = torch.tensor([[[1.0, 0], [0, 2]]])
    output = torch.tensor([[3.0, 0, 0, 1], [4, 0, 0, 0]])
    assert shrp.contributions(context, output).tolist() == [[5, 2]]


def test_fused_heads_are_means() -> None:
    rows = torch.tensor([[2.0, 0], [0, 1], [4, 0]])
    assert torch.allclose(dha.head_distance(rows)[0], torch.tensor([0.0, 1, 0]))
    assert dha.fused(rows, [0, 1, 0]).tolist() == [[3, 0], [0, 1], [3, 0]]
