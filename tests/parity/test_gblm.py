"""Weights as GBLM-Pruner's program prunes them, with gradients and input norms or without."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.weight.gblm import gblm_score, gradient_score
from algos.weight.pattern import keep_rows


@pytest.mark.fidelity
@pytest.mark.parametrize("kind", ["gblm_u", "grad_u"])
def test_pruned_weights_are_equal(kind: str, parity: Callable[[str], dict[str, Any]]) -> None:
    case = parity("gblm")
    keys = [key for key in case if re.match(rf"{kind}\d+/", key)]
    assert keys
    for key in keys:
        run, _, layer = key.partition("/")
        number, module = re.fullmatch(r"L(\d+)\.(.*)\.weight", layer).groups()  # type: ignore[union-attr]
        weight = torch.tensor(case[f"dense/{layer}"])
        gradient = torch.tensor(case[f"grad/{module}_layer_{number}"])
        score = gradient_score(weight, gradient)
        if kind == "gblm_u":
            squares = torch.tensor(case[f"stat_{run}/{layer.removesuffix('.weight')}.scaler_row"])
            score = gblm_score(weight, squares, gradient)
        mask = keep_rows(score, 1 - int(run.removeprefix(kind)) / 100)
        assert np.array_equal((weight * mask).numpy(), case[key]), key
