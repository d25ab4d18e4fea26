"""STUN's clusters and kept experts against the authors'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from algos.expert.stun import representatives, router_distance
from algos.linkage import clusters

AVERAGED_UP_TO = 2  # the authors' default


@pytest.mark.fidelity
def test_clusters(parity: Callable[[str], dict[str, Any]]) -> None:
    file = parity("stun")
    router = torch.tensor(file["gate"])
    weights = torch.cat([torch.tensor(file[name]).flatten(1) for name in ("w1", "w2")], 1)
    cases = [key.removeprefix("labels_top") for key in file if key.startswith("labels_top")]
    assert cases
    for case in cases:
        labels = clusters(router_distance(router), len(router) - int(case))
        assert labels == file[f"labels_top{case}"].tolist()
        if f"kept_expert_top{case}" in file:
            kept = representatives(labels, weights, AVERAGED_UP_TO)
            assert kept == file[f"kept_expert_top{case}"].tolist()
