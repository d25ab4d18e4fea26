"""A2SF and SnapKV: sums, sets and outputs of the program of A2SF's authors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from algos.kv.a2sf import forgetting_score
from algos.kv.keep import keep_budget
from algos.kv.snapkv import window_votes
from algos.selection import kept_ids
from workloads.attention import attention_probability

Parity = Callable[[str], dict[str, Any]]


def dense(case: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return causal probabilities of the file's q and k, and the outputs."""
    query, key, value = (torch.tensor(case[name]) for name in "qkv")
    repeat = query.shape[1] // key.shape[1]
    ahead = torch.full((key.shape[2],) * 2, torch.finfo(torch.float32).min).triu(1)
    key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    probability = attention_probability(query, key, query.shape[-1] ** -0.5, ahead[None, None])
    return probability, probability @ value


@pytest.mark.fidelity
def test_scores_sets_and_outputs(parity: Parity) -> None:
    case = parity("a2sf_snap")
    kv_heads = case["k"].shape[1]
    probability, output = dense(case)
    scores = {
        "a2sf": forgetting_score(probability, float(case["gamma"]), kv_heads),
        "a2sf_g1": forgetting_score(probability, 1.0, kv_heads),
        "snap": window_votes(probability, int(case["obs"]), kv_heads),
    }
    for name, score in scores.items():
        np.testing.assert_allclose(score.numpy(), case[f"{name}_score"], rtol=1e-5, atol=1e-9)
        keep = keep_budget(score, int(case["budget"]), recent=int(case["recent"]))
        assert np.array_equal(kept_ids(keep).numpy(), case[f"{name}_sel"]), name
        # the prefill itself is dense
        np.testing.assert_allclose(output.numpy(), case[f"{name}_out"], rtol=1e-5, atol=1e-6)
