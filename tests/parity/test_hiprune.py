"""HiPrune keeps the tokens that the authors' program keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from algos.visual.hiprune import anchors_and_registers

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_masks_of_hiprune(parity: Parity) -> None:
    case = parity("hiprune")
    received = torch.tensor(case["attn_mean_recv"])
    middle, deep = received[int(case["object_layer"]) - 1], received[int(case["select_layer"])]
    grid = (int(case["grid"]), received.shape[1] // int(case["grid"]))
    masks = [key for key in case if key.startswith("mask_")]
    assert masks
    for key in masks:
        k, alpha = re.fullmatch(r"mask_(\d+)_a(\d+)", key).groups()  # type: ignore[union-attr]
        kept = anchors_and_registers(
            middle[None], deep[None], grid, int(k), int(alpha) / 10, compat="authors"
        )
        assert kept[0].tolist() == case[key].nonzero()[0].tolist(), key
