"""Mustafar: pruned K and V of the authors' magnitude and output-aware programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.kv.mustafar import kept_count, key_weight, largest

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_magnitude(parity: Parity) -> None:
    case = parity("mustafar_mag")
    for key in (key for key in case if "_" in key):
        name, _, percent = key.partition("_")
        x = torch.tensor(case[name])
        count = kept_count(x.shape[-1], int(percent) / 100, "authors")
        assert np.array_equal((x * largest(x, count)).numpy(), case[key]), key


@pytest.mark.fidelity
def test_output_aware(parity: Parity) -> None:
    case = parity("mustafar_opa")
    query, key, value = (torch.tensor(case[name]) for name in "qkv")
    group, channels = int(case["group"]), key.shape[-1]
    count = int(channels * (1 - float(case["sparsity"])))
    weight = key_weight(query[:, :, -group:], key.shape[1])
    for x, factor, expected in ((key, weight, "k_out"), (value, None, "v_out")):
        keep = largest(x, count, factor)
        keep[:, :, -group:] = True
        assert np.array_equal((x * keep).numpy(), case[expected]), expected
