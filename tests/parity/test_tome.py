"""Bipartite matching equals that of the programs of ToMe and AIM."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.visual.matching import match, mean_weights

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_merging_of_tome(parity: Parity) -> None:
    case = parity("tome")
    metric, x = torch.tensor(case["metric"]), torch.tensor(case["x"])
    members = match(metric, int(case["r"]), class_token=True)
    assert np.array_equal(members, case["source"])
    assert np.array_equal(members.sum(-1, keepdim=True), case["size"])
    np.testing.assert_allclose(mean_weights(members) @ x, case["out"], rtol=1e-5, atol=1e-6)


@pytest.mark.fidelity
def test_merging_of_tome_without_a_class_token(parity: Parity) -> None:
    case = parity("tome")
    sources = [key for key in case if key.endswith("_nocls_source")]
    assert sources
    for key in sources:
        n = case[key].shape[2]
        metric, x = (torch.tensor(case[name][:, -n:]) for name in ("metric", "x"))
        r = re.fullmatch(r"r(\d+)_nocls_source", key).group(1)  # type: ignore[union-attr]
        members = match(metric, int(r))
        assert np.array_equal(members, case[key]), key
        out = case[key.replace("source", "out")]
        np.testing.assert_allclose(mean_weights(members) @ x, out, rtol=1e-5, atol=1e-6)


@pytest.mark.fidelity
def test_merging_of_aim(parity: Parity) -> None:
    case = parity("aim_tome")
    metric, x = torch.tensor(case["metric"]), torch.tensor(case["x"])
    outputs = [key for key in case if key.startswith("out_r")]
    assert outputs
    for key in outputs:
        members = match(metric, int(key.removeprefix("out_r")))
        np.testing.assert_allclose(
            mean_weights(members) @ x, case[key], rtol=1e-5, atol=1e-6, err_msg=key
        )
