"""TOVA: drop the token that the last query attends to least.

Oren et al., EMNLP 2024, arXiv:2401.06104.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep
from algos.kv.evicting import Evicting, EvictingState
from algos.token.shared import last_attention

if TYPE_CHECKING:
    from torch import Tensor


class Tova(Evicting):
    """Keep the tokens that the last query attends to most, in each step, one set for a layer.

    The score is the last query's probability averaged over all heads, so all heads of a layer hold
    the same tokens. The newest token always stays.
    """

    name: ClassVar[str] = "tova"
    signal: ClassVar[str] = "attention probability of the last query, mean of the layer's heads"
    paper: ClassVar[str] = "Oren et al., EMNLP 2024, arXiv:2401.06104"
    granularity: ClassVar[str] = "token of a layer"
    parity: ClassVar[Parity] = "hand"

    @property
    def protected(self) -> int:
        """The newest token."""
        return 1

    def guarded(self, budget: int) -> tuple[int, int]:
        """Protect the newest token."""
        return 0, 1

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Give all groups the layer's score."""
        shared = last_attention(attention.probability)
        return shared[:, None].expand(-1, step.key.shape[1], -1)
