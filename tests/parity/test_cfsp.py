"""CFSP against the authors' masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.structured.cfsp import authors_masks, layer_ratios, neuron_scores

STEPS = 100  # the ratio is not in the file: a whole percentage, the same for all cases


def sharpness_of(case: str) -> float:
    """Return what stands in the case's name, c_a2000; 1 where none does."""
    text = case.rpartition("_a")[2]
    return float(text) if text.isdigit() else 1.0


@pytest.mark.fidelity
def test_masks(parity: Callable[[str], dict[str, Any]]) -> None:
    file = parity("cfsp")
    cases = [key.removesuffix("_layer_importance") for key in file if key.endswith("_importance")]
    assert cases
    fitting = set(range(1, STEPS))
    for case in cases:
        scores = []
        for layer in range(len(file[case])):
            weights = [
                torch.tensor(file[f"dense/L{layer}.mlp.{part}_proj.weight"])
                for part in ("gate", "up", "down")
            ]
            squares = torch.tensor(file[f"stat_{case}/L{layer}.mlp.down_proj.scaler_row"])
            scores.append(neuron_scores(*weights, squares))
        importance = torch.tensor(file[f"{case}_layer_importance"])
        for percent in list(fitting):
            ratios = layer_ratios(importance, percent / STEPS, sharpness_of(case))
            found = authors_masks(torch.stack(scores), ratios)
            if not np.array_equal(found.numpy(), file[case]):
                fitting.remove(percent)
        assert fitting, f"no one ratio gives the masks up to {case}"
