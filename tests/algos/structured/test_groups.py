"""Coupled groups: which weights go together."""

from __future__ import annotations

import pytest
import torch

from algos.structured.groups import head_rows, neuron_rows
from algos.structured.magnitude import group_norm
from workloads.errors import InputError


def test_neurons_with_and_without_a_gate() -> None:
    gate, up, down = torch.ones(3, 2), 2 * torch.ones(3, 2), 3 * torch.ones(2, 3)
    assert [x.shape for x in neuron_rows(gate, up, down)] == [(3, 2)] * 3
    assert torch.allclose(group_norm(neuron_rows(gate, up, down)), torch.tensor(28.0).sqrt())
    assert torch.allclose(group_norm(neuron_rows(None, up, down)), torch.tensor(26.0).sqrt())


def test_heads_own_q_and_o_and_read_a_shared_key_head() -> None:
    query = torch.arange(16.0).view(8, 2)  # 4 heads of 2 channels
    key = torch.tensor([[1.0, 0], [0, 0], [0, 0], [0, 5]])  # 2 key heads
    rows = head_rows(query, key, torch.zeros(4, 2), torch.zeros(2, 8), 4)
    assert [tuple(x.shape) for x in rows] == [(4, 4)] * 4
    assert torch.equal(rows[0][1], torch.tensor([4.0, 5, 6, 7]))
    assert torch.equal(rows[1].sum(1), torch.tensor([1.0, 1, 5, 5]))


def test_output_columns_are_a_heads() -> None:
    output = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]])  # 2 heads of 2 channels
    rows = head_rows(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4, 2), output, 2)
    assert torch.equal(rows[3], torch.tensor([[1.0, 5, 2, 6], [3, 7, 4, 8]]))


def test_groups_that_do_not_divide() -> None:
    zeros = torch.zeros
    with pytest.raises(InputError, match=r"must be whole heads of 3, not 8 and 8$"):
        head_rows(zeros(8, 2), zeros(8, 2), zeros(8, 2), zeros(2, 8), 3)
    with pytest.raises(InputError, match=r"must be a multiple of the 3 key heads, not 4$"):
        head_rows(zeros(8, 2), zeros(6, 2), zeros(6, 2), zeros(2, 8), 4)
