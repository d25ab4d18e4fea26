"""Complete linkage by hand."""

from __future__ import annotations

import pytest
import torch

from algos.linkage import clusters
from workloads.errors import InputError


def test_clusters_by_hand() -> None:
    """Points 0, 1, 3, 10 on a line."""
    points = torch.tensor([0.0, 1, 3, 10])
    distance = (points[:, None] - points).abs()
    assert clusters(distance, 4) == [0, 1, 2, 3]
    assert clusters(distance, 3) == [0, 0, 1, 2]
    assert clusters(distance, 2) == [0, 0, 0, 1]
    assert clusters(distance, 2, threshold=3) == [0, 0, 1, 2]  # 0 and 3 are not below 3 apart
    assert clusters(torch.zeros(3, 3), 2) == [0, 0, 1]
    with pytest.raises(InputError, match="distances to cluster by must be finite"):
        clusters(distance * torch.nan, 2)
