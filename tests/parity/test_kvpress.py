"""Observed attention and KeyDiff: scores of kvpress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.kv.keep import group_mean, received
from algos.kv.keydiff import key_difference
from algos.kv.observed import observed_attention

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_observed_attention(parity: Parity) -> None:
    case = parity("kvpress")
    attention = torch.tensor(case["attn"])
    mean = group_mean(received(attention), case["keys"].shape[1])
    found = observed_attention(mean, torch.arange(attention.shape[-1], 0, -1))
    np.testing.assert_allclose(found.numpy(), case["observed"], rtol=1e-5)


@pytest.mark.fidelity
def test_key_difference(parity: Parity) -> None:
    case = parity("kvpress")
    found = key_difference(torch.tensor(case["keys"]))
    np.testing.assert_allclose(found.numpy(), case["keydiff"], rtol=1e-5, atol=1e-6)
