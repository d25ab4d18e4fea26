"""ARMOR's normalisation and first mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.weight.armor import first_mask, normalized


@pytest.mark.fidelity
def test_normalisation_and_mask_are_equal(parity: Callable[[str], dict[str, Any]]) -> None:
    case = parity("armor_nowag")
    weight, columns, rows = normalized(torch.tensor(case["W"]))
    np.testing.assert_allclose(weight, case["normalized"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(columns, case["norm_in"], rtol=1e-5)
    np.testing.assert_allclose(rows, case["norm_out"], rtol=1e-5)
    mask = first_mask(weight, torch.tensor(case["hessian_diag"]))
    assert np.array_equal(mask, case["mask_2of4"])
