"""Squared norms of inputs as Wanda's program adds them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.static.base import LinearView
from algos.weight.wanda import input_squares


@pytest.mark.fidelity
def test_norms_are_equal(parity: Callable[[str], dict[str, Any]]) -> None:
    case = parity("wanda_norm")
    inputs = torch.tensor(case["x"])
    np.testing.assert_allclose(input_squares(inputs), case["scaler_row"], rtol=1e-5)
    weight = torch.zeros(1, inputs.shape[-1])
    view = LinearView(layer=0, operator="up", weight=weight, inputs=tuple(inputs))
    np.testing.assert_allclose(view.input_squares, case["scaler_row"], rtol=1e-5)
