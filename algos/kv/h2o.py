"""H2O: heavy hitters, the tokens that received most attention so far, and recent tokens.

Zhang et al., NeurIPS 2023, arXiv:2306.14048, Algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Fraction, Parity
from algos.kv.base import CacheAttention, CacheStep
from algos.kv.evicting import Evicting, EvictingState
from algos.kv.keep import accumulate, received

if TYPE_CHECKING:
    from torch import Tensor


class H2O(Evicting):
    """Keep heavy hitters, by attention received in all steps so far, and recent tokens.

    As in the authors' program, K and V of grouped heads are repeated, so each query head has a
    cache of its own, and sums are not divided by the queries that could see a token: early tokens
    are favoured. Positions are not counted anew inside the cache.
    """

    name: ClassVar[str] = "h2o"
    signal: ClassVar[str] = "attention probability received, accumulated over steps"
    paper: ClassVar[str] = "Zhang et al., NeurIPS 2023, arXiv:2306.14048"
    granularity: ClassVar[str] = "token of a query head"
    parity: ClassVar[Parity] = "authors"
    per_query_head: ClassVar[bool] = True

    recent_share: Fraction = 0.5
    """Share of the budget that the latest tokens get; the authors' scripts give them half."""

    def guarded(self, budget: int) -> tuple[int, int]:
        """Protect the latest tokens: their share of the budget, rounded down."""
        return 0, int(self.recent_share * budget)

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Add the attention of this step."""
        return accumulate(state.before.get(step.layer), received(attention.probability))
