"""Retrieval heads: scores of the authors' program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.head.retrieval_head import retrieval_score

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_scores(parity: Parity) -> None:
    case = parity("retrieval_head")
    first, end = (int(i) for i in case["needle"])
    score = retrieval_score(
        torch.tensor(case["attn"])[..., -1, :],
        torch.tensor(case["prompt_ids"]),
        torch.tensor(case["gen_ids"]),
        range(first, end),
    )
    np.testing.assert_allclose(score.numpy(), case["score"], rtol=1e-5)
