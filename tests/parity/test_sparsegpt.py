"""Masks and adjusted weights of SparseGPT's program."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.static.base import LinearView
from algos.weight.base import WeightPlan
from algos.weight.sparsegpt import SparseGpt, hessian_of

FIRST_BLOCK = 16  # columns of a block of the runs whose name gives none


@pytest.mark.fidelity
def test_weights_are_equal(parity: Callable[[str], dict[str, Any]]) -> None:
    case = parity("sparsegpt")
    inputs, weight = torch.tensor(case["x"]), torch.tensor(case["W"])
    np.testing.assert_allclose(hessian_of(inputs), case["H"], rtol=1e-4, atol=1e-4)
    view = LinearView(layer=0, operator="up", weight=weight, inputs=tuple(inputs))
    runs = [key for key in case if re.fullmatch(r"u?\d+(_bs\d+)?", key)]
    assert runs
    for run in runs:
        digits, _, block = run.removeprefix("u").partition("_")
        if run.startswith("u"):
            size = FIRST_BLOCK if not block else int(block.removeprefix("bs"))
            method = SparseGpt(keep_ratio=1 - int(digits) / 100, block=size, compat="authors")
        else:
            pruned, of = (int(digit) for digit in digits)
            method = SparseGpt(keep_ratio=1 - pruned / of, group=of)
        found = method.prune_linear(view, WeightPlan()).weight.numpy()
        assert np.array_equal(found != 0, case[run] != 0), run
        np.testing.assert_allclose(found, case[run], rtol=5e-3, atol=1e-5, err_msg=run)
