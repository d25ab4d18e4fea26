"""ShortGPT's influence and angle of each token against the authors'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.layer.shortgpt import angular_distance, block_influence


@pytest.mark.fidelity
def test_influence(parity: Callable[[str], dict[str, Any]]) -> None:
    file = parity("shortgpt")
    states = [torch.tensor(file[name]).flatten(0, -2) for name in ("inp", "out")]
    np.testing.assert_allclose(block_influence(*states), file["bi"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(angular_distance(*states), file["angular"], rtol=1e-5, atol=1e-6)
