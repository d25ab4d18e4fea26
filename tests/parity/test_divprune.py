"""DivPrune picks the tokens that the authors' program picks, in its order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.visual.divprune import farthest
from algos.visual.greedy import cosine

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_order_of_divprune(parity: Parity) -> None:
    case = parity("divprune")
    features = torch.tensor(case["x"])[None]
    np.testing.assert_allclose(1 - cosine(features)[0], case["dist"], rtol=1e-5, atol=1e-6)
    orders = [key for key in case if key.startswith("order_")]
    assert orders
    for key in orders:
        k = round(int(key.removeprefix("order_")) / 100 * features.shape[1])
        assert farthest(features, k)[0].tolist() == case[key].tolist(), key
