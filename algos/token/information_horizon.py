"""Random pruning beyond the information horizon: deep visual tokens no longer matter.

Wang et al., CVPR 2026, arXiv:2512.07580, showed that random pruning is as good as any signal in
deep layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Fraction, Parity, Ratio
from algos.selection import keep_count
from algos.token.base import Between
from algos.token.cuts import VisualCuts
from algos.token.shared import cosine, cut_layers, random_scores

if TYPE_CHECKING:
    from torch import Tensor


class InformationHorizon(VisualCuts):
    """Drop visual tokens at random from a deep layer on, and by diversity before the first.

    From the description: the layer is found by measuring how much the output changes when a
    token is removed; here it is given as a share of the depth, an estimate. With the default
    `early_keep_ratio` this is the random baseline of the visual token methods.
    """

    name: ClassVar[str] = "information-horizon"
    signal: ClassVar[str] = "random numbers; before the horizon least distance to tokens kept"
    paper: ClassVar[str] = "Wang et al., CVPR 2026, arXiv:2512.07580"
    parity: ClassVar[Parity] = "description"

    horizon: Fraction = 0.5
    """Share of the depth after which tokens are dropped at random."""
    early_keep_ratio: Ratio = 1.0
    """Visual tokens that enter the first layer, rounded down, chosen as by DivPrune."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut before the first layer and at the horizon."""
        (cut,) = cut_layers((self.horizon,), layers)
        return {0: keep_count(self.early_keep_ratio, n), cut: keep_count(self.keep_ratio, n)}

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Draw numbers, or rank by diversity before the first layer."""
        n = where.stop - where.start
        if entry.layer == 0:
            return diversity(entry.hidden[:, where], state.counts[0])
        return random_scores(state.generators, n)


def diversity(x: Tensor, k: int) -> Tensor:
    """Return 1 for k tokens that are far apart and 0 for the others, (batch, token).

    The first is the one whose nearest other is farthest; then always the one whose nearest
    chosen is farthest. Distance: 1 - cosine.

    Args:
        x: (batch, token, hidden).
        k: tokens to choose.
    """
    import torch

    distance = 1 - cosine(x, x)
    own = torch.eye(x.shape[1], dtype=torch.bool)
    nearest = distance.masked_fill(own, torch.inf).amin(2)
    taken = torch.zeros_like(nearest, dtype=torch.bool)
    for step in range(k):
        # argmax returns no stable index among equals: the lowest is looked for
        free = nearest.masked_fill(taken, -torch.inf)
        pick = (free == free.amax(1, keepdim=True)).int().argmax(1, keepdim=True)
        row = distance.gather(1, pick[:, :, None].expand(-1, -1, x.shape[1]))[:, 0]
        nearest = row if step == 0 else torch.minimum(nearest, row)
        taken = taken.scatter(1, pick, True)
    return taken.to(x.dtype) + 0 * x.sum(2)  # a token that is not finite stays so
