"""Adapt-Pruner: small steps, and at each step less of the layers that change most.

Pan et al., arXiv 2502.03460. Sparsity is raised a few percent at a time; a layer's part of each
step falls with its importance, the distance of its input from its output.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def steps(keep_ratio: float, step: float) -> list[float]:
    """Return the shares kept after each step, equal steps of at most `step` down to the last."""
    count = max(1, math.ceil((1 - keep_ratio) / step - 1e-9))
    return [1 - (1 - keep_ratio) * (number + 1) / count for number in range(count)]


def adaptive_ratios(importance: Tensor, keep_ratio: float, amplitude: float) -> list[float]:
    """Return the share kept of each layer, all equal parts of `keep_ratio` but for importance.

    Importance (layers,), 1 - cosine of input and output, is scaled to -1..1 and centred, so that
    the mean share stays `keep_ratio` and no layer is further than twice the `amplitude` from it.
    Shares that leave 0..1 are cut and what that frees or costs is spread over the other layers.
    """
    spread = importance.max() - importance.min()
    scaled = 2 * (importance - importance.min()) / spread.clamp_min(1e-12) - 1
    wanted = keep_ratio + amplitude * (scaled - scaled.mean())
    for _ in range(len(wanted)):  # each pass cuts at least one more layer, or ends
        cut = wanted.clamp(0, 1)
        free = (wanted > 0) & (wanted < 1)
        if not bool(free.any()):
            break
        wanted = cut + free * ((keep_ratio - cut.mean()) * len(wanted) / free.sum())
    return [float(share) for share in wanted.clamp(0, 1)]
