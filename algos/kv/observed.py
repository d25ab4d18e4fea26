"""Observed attention: the mean probability with which a token's observers saw it.

As in NVIDIA's kvpress (ObservedAttentionPress), related to H2O (Zhang et al., NeurIPS 2023,
arXiv:2306.14048) without its favour for early tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep
from algos.kv.evicting import Evicting, EvictingState
from algos.kv.keep import accumulate, group_mean, received

if TYPE_CHECKING:
    from torch import Tensor


def observed_attention(total: Tensor, observers: Tensor) -> Tensor:
    """Divide attention received (..., key) by the number of queries that could see the key."""
    return total / observers


class ObservedAttention(Evicting):
    """Keep the tokens with the largest mean attention from the queries that could see them.

    Heads of a group are averaged. No token is protected. kvpress prunes after the prefill; here
    the means also go on through the decoded steps.
    """

    name: ClassVar[str] = "observed-attention"
    signal: ClassVar[str] = "mean attention probability from the queries that could see a token"
    paper: ClassVar[str] = "NVIDIA kvpress; after Zhang et al., NeurIPS 2023, arXiv:2306.14048"
    parity: ClassVar[Parity] = "authors"

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Return means; the number of observers is the token's age."""
        observers = step.query_ids[:, -1, None, None] - step.ids + 1
        before = state.before.get(step.layer)
        if before is not None:  # means of one step ago, when each old token had one observer less
            before = before * (observers[..., : before.shape[-1]] - 1)
        fresh = group_mean(received(attention.probability), step.key.shape[1])
        return observed_attention(accumulate(before, fresh), observers)
