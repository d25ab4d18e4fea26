"""HoloV keeps the tokens that the authors' program keeps, crop by crop, padding included."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from algos.visual.holov import holistic

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_tokens_of_holov(parity: Parity) -> None:
    case = parity("holov")
    crops = int(case["num_patches"])
    outputs = [key for key in case if key.startswith("out_idx")]
    assert "out_idx" in outputs
    for key in outputs:
        part = re.fullmatch(r"out_idx_n(\d+)_k(\d+)", key)
        n, k = map(int, part.groups()) if part else (case["x"].shape[1], int(case["keep"]))
        features, attention = (torch.tensor(case[name][:, :n]) for name in ("x", "attn"))
        kept = holistic(features, attention, k, crops, compat="authors")
        assert kept.tolist() == case[key].tolist(), key
