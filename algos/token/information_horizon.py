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
from algos.token.shared import cut_layers, random_scores
from algos.visual.divprune import farthest

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
            picked = farthest(entry.hidden[:, where], state.counts[0])
            return entry.hidden.new_zeros(len(picked), n).scatter(1, picked, 1.0)
        return random_scores(state.generators, n)
