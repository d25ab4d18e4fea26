"""H2O: the sets and sums of the authors' cache, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.kv.keep import accumulate, keep_budget, received, survivors
from algos.selection import kept_ids

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_sets_and_sums_of_every_step(parity: Parity) -> None:
    case = parity("h2o")
    steps = torch.tensor(case["attn_steps"])[:, None]  # (step, 1, head, query, key)
    recent = int(case["recent"])
    budget = int(case["hh"]) + recent
    ids, total = torch.zeros(1, steps.shape[2], 0, dtype=torch.int64), None
    for number, step in enumerate(steps):
        queries = steps.shape[3] if number == 0 else 1
        first = 0 if number == 0 else steps.shape[3] + number - 1
        fresh = torch.arange(first, first + queries).expand(1, steps.shape[2], -1)
        ids = torch.cat((ids, fresh), -1)
        seen = received(step[:, :, :queries, : ids.shape[-1]])
        total = accumulate(total, seen)
        keep = keep_budget(total, budget, recent=recent)
        ids, total = survivors(ids, keep), survivors(total, keep)
        assert np.array_equal(ids[0].numpy(), case["keep_pos"][number]), number
        np.testing.assert_allclose(total[0].numpy(), case["hh_score"][number], rtol=1e-5)
    assert kept_ids(keep).shape[-1] == budget
