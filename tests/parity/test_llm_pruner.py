"""LLM-Pruner's four Taylor scores of neurons against the authors'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch

from algos.structured.groups import neuron_rows
from algos.structured.llm_pruner import Order, taylor_score


@pytest.mark.fidelity
@pytest.mark.parametrize("order", get_args(Order))
def test_scores(parity: Callable[[str], dict[str, Any]], order: Order) -> None:
    file = parity("llm_pruner")
    weights, gradients, squares = (
        neuron_rows(*(torch.tensor(file[f"{part}_{kind}"]) for part in ("gate", "up", "down")))
        for kind in ("w", "g", "acc")
    )
    found = taylor_score(weights, gradients, squares, order)
    np.testing.assert_allclose(found, file[f"mlp_{order}"], rtol=1e-5, atol=1e-6)
