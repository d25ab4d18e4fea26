"""Masks of AST's program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch

from algos.weight.ast import Ast, ast_score


@pytest.mark.fidelity
@pytest.mark.parametrize("metric", ["magnitude", "wanda"])
def test_masks_are_equal(
    metric: Literal["magnitude", "wanda"], parity: Callable[[str], dict[str, Any]]
) -> None:
    case = parity("ast")
    score = ast_score(torch.tensor(case["W"]), torch.tensor(case["scaler_row"]), metric)
    for pattern, group in (("structured", 4), ("unstructured", 0)):
        method = Ast(group=group, metric=metric)
        found = method.mask(score, method.keep_ratio, "W").numpy()
        assert np.array_equal(found, case[f"{metric}_{pattern}"].astype(bool)), pattern
