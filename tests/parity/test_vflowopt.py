"""VFlowOpt's entropy and importance equal those of the authors' program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.visual.vflowopt import importance, patch_entropy

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_importance_of_vflowopt(parity: Parity) -> None:
    case = parity("vflowopt")
    expected = torch.tensor(case["entropy"])
    pixels, grid = torch.tensor(case["pixels"]), (expected.shape[1], expected.shape[2])
    entropy = patch_entropy(pixels, grid, compat="authors")
    np.testing.assert_allclose(entropy.view_as(expected), expected, rtol=1e-5)
    found = importance(
        torch.tensor(case["attn"]), entropy, float(case["t"]), float(case["alpha_v"])
    )
    np.testing.assert_allclose(found, case["importance"], rtol=1e-5)
