"""SpAtten-LLM: SpAtten's token pruning as its authors' program does it for a KV cache.

Wang, Zhang, Han, HPCA 2021, arXiv:2012.09852; the program is of 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.kv.base import CacheAttention, CacheStep
from algos.kv.evicting import Evicting, EvictingState
from algos.kv.keep import group_sum

if TYPE_CHECKING:
    from torch import Tensor


def logit_sums(scores: Tensor, kv_heads: int) -> Tensor:
    """Sum scores before mask and softmax over queries and a KV head's query heads.

    Args:
        scores: (batch, head, query, key) query . key * scale.
        kv_heads: of the cache.

    Returns:
        (batch, kv_head, key).
    """
    return group_sum(scores.sum(2), kv_heads)


class SpAttenLLM(Evicting):
    """Keep the tokens with the largest sums of raw attention scores, and recent tokens.

    True to the authors' program, not to the paper: scores are those of the last step alone, before
    mask and softmax, and each KV head chooses for itself, so nothing cascades (method `spatten`
    follows the paper). The program knows no grouped heads: here a group's sums are added.
    """

    name: ClassVar[str] = "spatten-llm"
    signal: ClassVar[str] = "query . key of the last step, before softmax"
    paper: ClassVar[str] = "Wang et al., HPCA 2021, arXiv:2012.09852"
    parity: ClassVar[Parity] = "authors"

    start: Annotated[int, Field(ge=0)] = 0
    """First tokens that always stay; 0 on the authors' command line."""
    recent_share: Fraction = 0.5
    """Share of the rest of the budget for the latest tokens; the authors take 150 of 300."""

    @property
    def protected(self) -> int:
        """Tokens at the start."""
        return self.start

    def guarded(self, budget: int) -> tuple[int, int]:
        """Protect the first tokens and the latest."""
        return self.start, int(self.recent_share * (budget - self.start))

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Sum the scores of this step alone."""
        return logit_sums(attention.scores, step.key.shape[1])
