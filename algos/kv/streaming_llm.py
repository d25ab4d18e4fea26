"""StreamingLLM: attention sinks and a window.  Xiao et al., ICLR 2024, arXiv:2309.17453."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep, Reading
from algos.kv.evicting import Evicting, EvictingState

if TYPE_CHECKING:
    from torch import Tensor


def sink_recent_mask(n: int, start: int, recent: int, coming: int = 0) -> Tensor:
    """Mark (n,) the first `start` and the latest recent - coming tokens.

    All stay while n + coming <= start + recent: there is room for the tokens that come.
    """
    import torch

    place = torch.arange(n)
    if n + coming <= start + recent:
        return place >= 0
    return (place < start) | (place >= n - recent + coming)


class StreamingLLM(Evicting):
    """Keep the first tokens, which attract attention whatever they say, and the latest.

    The prefill is dense. Positions are the true ones: the paper counts them anew inside the cache,
    which only matters beyond the length the model was trained for.
    """

    name: ClassVar[str] = "streaming-llm"
    signal: ClassVar[str] = "position"
    paper: ClassVar[str] = "Xiao et al., ICLR 2024, arXiv:2309.17453"
    granularity: ClassVar[str] = "token of the model"
    parity: ClassVar[Parity] = "authors"
    policy: ClassVar[str] = "sink_recent"

    sinks: Annotated[int, Field(ge=0)] = 4
    """First tokens that always stay."""

    @property
    def protected(self) -> int:
        """The sinks and the newest token."""
        return self.sinks + 1

    def read(self, step: CacheStep, state: EvictingState) -> Reading:
        """Read the whole cache."""
        recent = self.budget(step.prompt_tokens) - self.sinks
        return Reading(sink_tokens=self.sinks, recent_tokens=recent)

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Score 1 what stays, 0 what goes."""
        recent = self.budget(step.prompt_tokens) - self.sinks
        mask = sink_recent_mask(step.entries, self.sinks, recent)
        return mask.to(step.key.dtype).expand(step.key.shape[:3])
