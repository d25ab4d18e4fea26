"""DHA: key/value heads that are alike are fused and shared.  Chen et al., arXiv 2406.06567."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def head_distance(rows: Tensor) -> Tensor:
    """Return 1 - cosine (heads, heads) of the weights (heads, n) of heads."""
    from torch.nn.functional import normalize

    unit = normalize(rows.float(), dim=1)
    return 1 - unit @ unit.T


def fused(rows: Tensor, labels: list[int]) -> Tensor:
    """Return weights (heads, n) in which the heads of a cluster all have its mean."""
    import torch

    label = torch.tensor(labels)
    return torch.stack([rows[label == cluster].mean(0) for cluster in labels])
