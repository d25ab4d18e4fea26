"""SpAtten-LLM: the sets of the authors' program, with and without tokens to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.kv.keep import keep_budget
from algos.kv.spatten_llm import logit_sums
from algos.selection import kept_ids

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_sets_of_every_layer_and_head(parity: Parity) -> None:
    case = parity("spatten_llm")
    start, recent, important = (int(case[name]) for name in ("start", "recent", "important"))
    for key in (key for key in case if key.startswith("keep_idx_nc")):
        coming = int(key.removeprefix("keep_idx_nc"))  # the room for them is taken from `recent`
        for layer, scores in enumerate(torch.tensor(case["attn_scores"])):
            score = logit_sums(scores, scores.shape[1])
            budget = start + important + recent - coming
            keep = keep_budget(score, budget, sinks=start, recent=recent - coming)
            assert np.array_equal(kept_ids(keep)[0].numpy(), case[key][layer]), (key, layer)
