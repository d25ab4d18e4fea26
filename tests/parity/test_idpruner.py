"""IDPruner keeps the tokens that the released program keeps for given scores."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from algos.visual.idpruner import relevant

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_masks_of_idpruner(parity: Parity) -> None:
    case = parity("idpruner")
    scores, features = torch.tensor(case["scores"])[None], torch.tensor(case["x"])[None]
    k = max(1, round(scores.shape[1] * (1 - float(case["ratio"]))))
    masks = [key for key in case if key.startswith("mask_")]
    assert masks
    for key in masks:
        weight, at_once = re.fullmatch(r"mask_l(\d+)_p(\d+)", key).groups()  # type: ignore[union-attr]
        picks = relevant(scores, features, k, int(weight) / 10, int(at_once))
        assert sorted(picks[0].tolist()) == case[key].nonzero()[0].tolist(), key
