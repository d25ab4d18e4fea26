"""Weights as Wanda's program prunes them, by its own score and by magnitude."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.weight.magnitude import Magnitude, above_threshold, magnitude_score
from algos.weight.pattern import keep_largest, keep_rows
from algos.weight.wanda import Wanda, cumulative_mask, wanda_score

KINDS = ("wanda_u", "wanda_var", "wanda_", "mag_u", "mag_")


def masked(run: str, case: dict[str, Any], layer: str) -> Any:
    """Return the weights of one layer that a run asks for: mag_u50, wanda_24, wanda_var50."""
    weight = torch.tensor(case[f"dense/{layer}"])
    kind, digits = re.fullmatch(r"(\D+)(\d+)", run).groups()  # type: ignore[union-attr]
    score = magnitude_score(weight)
    if kind.startswith("wanda"):
        row = f"stat_{run}/{layer.removesuffix('.weight')}.scaler_row"
        score = wanda_score(weight, torch.tensor(case[row]))
    if kind == "mag_u":
        method = Magnitude(keep_ratio=1 - int(digits) / 100, compat="authors")
        mask = method.mask(score, method.keep_ratio, layer)
        assert torch.equal(mask, above_threshold(score, method.keep_ratio))
    elif kind == "wanda_u":
        mask = keep_rows(score, 1 - int(digits) / 100)
    elif kind == "wanda_var":
        method = Wanda(keep_ratio=1 - int(digits) / 100, variant=True)
        mask = method.mask(score, method.keep_ratio, layer)
        assert torch.equal(mask, cumulative_mask(score, method.keep_ratio))
    else:  # N pruned of M
        pruned, of = (int(digit) for digit in digits)
        mask = keep_largest(score, of - pruned, of)
    return (weight * mask).numpy()


@pytest.mark.fidelity
@pytest.mark.parametrize("kind", KINDS)
def test_pruned_weights_are_equal(kind: str, parity: Callable[[str], dict[str, Any]]) -> None:
    case = parity("wanda_magnitude")
    keys = [key for key in case if re.match(rf"{kind}\d+/", key)]
    assert keys
    for key in keys:
        run, _, layer = key.partition("/")
        assert np.array_equal(masked(run, case, layer), case[key]), key


@pytest.mark.fidelity
def test_every_run_of_the_file_is_compared(parity: Callable[[str], dict[str, Any]]) -> None:
    runs = {key.partition("/")[0] for key in parity("wanda_magnitude")}
    own = {run for run in runs if re.fullmatch(rf"({'|'.join(KINDS)})\d+", run)}
    assert {run for run in runs - own if not run.startswith("stat_")} == {"inps", "dense"}
