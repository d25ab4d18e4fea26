"""oBERT's inverse Fisher matrix, saliencies and adjusted weights.

With so little damping float32 is ill-conditioned: scores are compared by the correlation of their
logarithms, as far as the file's own float32 goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.weight.obert import compensated, inverse_fisher, saliency


@pytest.mark.fidelity
def test_scores_and_weights_agree(parity: Callable[[str], dict[str, Any]]) -> None:
    case = parity("obert")
    weight = torch.tensor(case["W"]).double()
    gradients = torch.tensor(case["grads"]).double()
    inverse = inverse_fisher(gradients, int(case["block"]), float(case["damp"]))
    score = saliency(weight, inverse)
    diagonal = inverse.diagonal(dim1=1, dim2=2).reshape(-1)[: weight.numel()]
    for found, expected in ((score, case["score"]), (diagonal, case["finv_diag"])):
        logs = np.log(found.numpy().ravel()), np.log(np.abs(expected).ravel())
        assert np.corrcoef(*logs)[0, 1] > 0.999
    keys = [key for key in case if key.startswith("prune_mask_")]
    for key in keys:
        pruned = torch.tensor(case[key])
        assert score[pruned].max() <= 1.05 * score[~pruned].min()
        found = compensated(weight, ~pruned, inverse).numpy()
        assert np.array_equal(found != 0, case["W_after"] != 0)
        assert np.corrcoef(found.ravel(), case["W_after"].ravel())[0, 1] > 0.999
    assert len(keys) == 1
