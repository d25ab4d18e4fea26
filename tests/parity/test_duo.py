"""DuoAttention: head classes of the authors' quantile, and their mask."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.head.classes import best_heads, streaming_mask

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_full_heads(parity: Parity) -> None:
    case = parity("duo")
    alpha = torch.tensor(case["alpha"])
    for key in (key for key in case if key.startswith("full_heads_s")):
        sparsity = int(key.removeprefix("full_heads_s")) / 100
        # at or above the quantile are all but this many
        below = math.ceil(sparsity * (alpha.numel() - 1) - 1e-9)
        full = best_heads(alpha, alpha.numel() - below)
        assert np.array_equal(full.numpy(), case[key].astype(bool)), key
        real = 1 - full.double().mean().item()
        np.testing.assert_allclose(real, case[key.replace("full_heads", "real")], rtol=1e-5)


@pytest.mark.fidelity
def test_streaming_mask(parity: Parity) -> None:
    case = parity("duo")
    for key in (key for key in case if key.startswith("mask_")):
        length, sinks, recent = (int(number) for number in re.findall(r"\d+", key))
        ids = torch.arange(length)
        found = streaming_mask(ids, ids, sinks, recent).numpy()
        assert np.array_equal(found, case[key][:length, :length]), key
