"""A window without sinks: the control that says what attention sinks are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep, Reading
from algos.kv.evicting import Evicting, EvictingState

if TYPE_CHECKING:
    from torch import Tensor


class RecentOnly(Evicting):
    """Keep the latest tokens and nothing else: a null baseline."""

    name: ClassVar[str] = "recent-only"
    signal: ClassVar[str] = "position"
    paper: ClassVar[str] = "none; the window baseline of Xiao et al., ICLR 2024, arXiv:2309.17453"
    granularity: ClassVar[str] = "token of the model"
    parity: ClassVar[Parity] = "hand"
    policy: ClassVar[str] = "sink_recent"

    def read(self, step: CacheStep, state: EvictingState) -> Reading:
        """Read the whole cache."""
        return Reading(recent_tokens=self.budget(step.prompt_tokens))

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Score each token by its position."""
        return step.ids.to(step.key.dtype)
