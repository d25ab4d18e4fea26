"""Key norm: keys with a small norm matter.  Devoto et al., EMNLP 2024, arXiv:2406.11430."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep
from algos.kv.evicting import Evicting, EvictingState

if TYPE_CHECKING:
    from torch import Tensor


def key_norm_score(key: Tensor) -> Tensor:
    """Return minus the Euclidean norm, (..., n), of keys (..., n, channel)."""
    return -key.square().sum(-1).sqrt()


class KeyNorm(Evicting):
    """Keep the tokens whose keys have the smallest norm: the family's baseline of magnitudes.

    Low norms go with high attention in the models the authors studied. No token and no layer is
    protected; the budget holds in all of them.
    """

    name: ClassVar[str] = "knorm"
    signal: ClassVar[str] = "Euclidean norm of a key"
    paper: ClassVar[str] = "Devoto et al., EMNLP 2024, arXiv:2406.11430"
    parity: ClassVar[Parity] = "hand"

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Measure the keys."""
        return key_norm_score(step.key)
