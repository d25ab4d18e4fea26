"""HiP: the blocks that the authors' search finds (version 1.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.attention.halving import search
from algos.attention.hip import block_scores

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_blocks(parity: Parity) -> None:
    case = parity("hip_v11")
    assert int(case["sliding_window"]) == 0
    query, key = torch.tensor(case["q"]), torch.tensor(case["k"])
    rows, block = int(case["block_q"]), int(case["block_k"])
    for number in range(query.shape[1] // rows):
        first, end = number * rows, (number + 1) * rows
        scores = block_scores(query[:, first:end], key[:, :end], block, "authors")
        found, _ = search(scores, int(case["mask_k"]) // block, "authors")
        valid = case["ks"][:, number]
        assert (valid == found.shape[-1]).all()
        expected = case["indices"][:, number, : found.shape[-1]]
        assert np.array_equal(found.numpy() * block, expected), number
