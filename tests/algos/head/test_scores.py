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


def test_heads_go_in_steps_and_are_measured_again() -> None:
    seen = []

    def importance(mask: torch.Tensor) -> torch.Tensor:
        seen.append(int(mask.sum()))
        score = torch.tensor([[1.0, 2], [3, 4]])
        return score if mask.all() else -score  # what is left is turned round

    mask = michel.stepwise(importance, 2, 2, keep=2, step=0.25)
    assert seen == [4, 3]
    assert mask.tolist() == [[False, True], [True, False]]
    assert michel.stepwise(importance, 2, 2, keep=4, step=0.25).all()
    ties = michel.stepwise(lambda mask: torch.ones(1, 4), 1, 4, keep=2, step=0.5)
    assert ties.tolist() == [[True, True, False, False]]


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
