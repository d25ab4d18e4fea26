"""KeyDiff: keys that are unlike the others.  Park et al., NeurIPS 2025, arXiv:2504.15364."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep
from algos.kv.evicting import Evicting, EvictingState

if TYPE_CHECKING:
    from torch import Tensor


def key_difference(key: Tensor) -> Tensor:
    """Return -cos(key, anchor), (..., n), of keys (..., n, channel).

    The anchor is the mean of the keys, each scaled to length 1.
    """
    from torch.nn.functional import cosine_similarity, normalize

    anchor = normalize(key, dim=-1).mean(-2, keepdim=True)
    return -cosine_similarity(key, anchor, dim=-1)


class KeyDiff(Evicting):
    """Keep the tokens whose keys differ most from the mean direction of all keys in the cache.

    No attention is looked at and no token is protected. Scores are computed anew in each step,
    on what is still held.
    """

    name: ClassVar[str] = "keydiff"
    signal: ClassVar[str] = "cosine between a key and the mean key direction"
    paper: ClassVar[str] = "Park et al., NeurIPS 2025, arXiv:2504.15364"
    parity: ClassVar[Parity] = "authors"

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Compare the keys."""
        return key_difference(step.key)
