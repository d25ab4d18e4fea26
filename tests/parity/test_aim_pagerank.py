"""AIM's importance against its authors' program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.token.aim import AIM, page_rank, sharpened

CASES = {  # temperature, iterations, damping of each output of the file
    "imp_default": ("logits_causal", AIM().temperature, AIM().iterations, AIM().damping),
    "imp_bidir_it1": ("logits", 0.1, 1, 0.0),
    "imp_bidir_it30_tau1": ("logits", 1.0, 30, 0.0),
    "imp_d015": ("logits", 1.0, 30, 0.15),
}


@pytest.mark.fidelity
@pytest.mark.parametrize("case", CASES)
def test_importance_is_that_of_the_authors(
    case: str, parity: Callable[[str], dict[str, Any]]
) -> None:
    given = parity("aim_pagerank")
    logits, temperature, iterations, damping = CASES[case]
    scores = torch.from_numpy(given[logits])
    attention = (scores / temperature).softmax(-1)
    ours = page_rank(attention, iterations, damping)
    np.testing.assert_allclose(ours, given[case], rtol=1e-5, atol=1e-7)
    # a method sees probabilities, which hold the same scores up to a constant of each row
    seen = sharpened(scores.double().softmax(-1), temperature)
    np.testing.assert_allclose(seen, attention, rtol=1e-4, atol=1e-7)
