"""CSKV: initial factors of the authors' program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.kv.cskv import low_rank

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_factors(parity: Parity) -> None:
    case = parity("cskv")
    weight = torch.tensor(case["W"]).double()
    scale = (torch.tensor(case["calib_abs_mean"]).double() + 1e-6).sqrt()
    for name, factor in (("svd", None), ("asvd", scale)):
        a, b = low_rank(weight, len(case[f"A_{name}"]), factor)
        expected_a, expected_b = case[f"A_{name}"], case[f"B_{name}"]
        # singular vectors have no sign, and theirs were computed in float32
        for found, expected in (
            (b @ a, expected_b.astype(float) @ expected_a),
            (a.abs(), np.abs(expected_a)),
            (b.abs(), np.abs(expected_b)),
        ):
            error = np.abs(found.numpy() - expected).max() / np.abs(expected).max()
            assert error < 1e-5 * len(expected_a), name
