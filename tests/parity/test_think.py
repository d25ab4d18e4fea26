"""ThinK: channels of the authors' two versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.kv.keep import keep_top
from algos.kv.think import channel_score

Parity = Callable[[str], dict[str, Any]]
WINDOW = 32  # last queries that judge, fixed in the authors' program


@pytest.mark.fidelity
def test_channels_and_pruned_keys(parity: Parity) -> None:
    case = parity("think")
    query, key = torch.tensor(case["q"]), torch.tensor(case["k"])
    channels, recent = key.shape[-1], int(case["recent"])
    count = channels - int(channels * float(case["ratio"]))
    keep = keep_top(channel_score(query, key, WINDOW), count)
    assert np.array_equal(keep.numpy(), case["keep_channels"])
    assert np.array_equal(keep.numpy(), case["kivi_keep"])
    whole = keep[:, :, None].expand_as(key)
    pruned = key[whole].view(*key.shape[:3], count)
    assert np.array_equal(pruned.numpy(), case["kivi_pruned_k"])
    old = key.shape[2] - recent
    assert np.array_equal(pruned[:, :, :old].numpy(), case["pruned_k"])
    assert np.array_equal(key[:, :, old:].numpy(), case["recent_k"])
