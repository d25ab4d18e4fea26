"""Λ-shaped attention as a method: sinks and a window, in the prefill too.

AccLLM (arXiv:2505.03745) runs it on an accelerator; StreamingLLM (Xiao et al., ICLR 2024) and
LM-Infinite (Han et al., NAACL 2024) introduced it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algos.attention.sink_window import SinkWindow
from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep, Reading
from algos.kv.evicting import Evicting, EvictingState

if TYPE_CHECKING:
    from torch import Tensor


class LambdaAttention(Evicting):
    """Keep and read the first tokens and the latest, from the prefill on.

    A query of the prefill reads the sinks and the latest tokens up to itself, as many as the cache
    later holds. Distances are not capped: keys are met at their true position.
    """

    name: ClassVar[str] = "lambda"
    signal: ClassVar[str] = "position"
    paper: ClassVar[str] = "AccLLM, arXiv:2505.03745; Han et al., NAACL 2024, arXiv:2308.16137"
    granularity: ClassVar[str] = "token of the model"
    trace_kind: ClassVar[str] = "block mask"
    parity: ClassVar[Parity] = "hand"
    policy: ClassVar[str] = "sink_recent"

    sinks: Annotated[int, Field(ge=0)] = 4
    """First tokens that are always read."""

    @property
    def protected(self) -> int:
        """The sinks and the newest token."""
        return self.sinks + 1

    def window(self, prompt_tokens: int) -> SinkWindow:
        """Return which tokens a query reads."""
        return SinkWindow(sinks=self.sinks, recent=self.budget(prompt_tokens) - self.sinks)

    def read(self, step: CacheStep, state: EvictingState) -> Reading:
        """Mask the prefill; later steps read what is held."""
        window = self.window(step.prompt_tokens)
        mask = window.visible(step.query_ids, step.ids[:, 0])[:, None] if step.step == 0 else None
        return Reading(mask=mask, sink_tokens=window.sinks, recent_tokens=window.recent)

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Score 1 what the newest query sees, 0 the rest."""
        window = self.window(step.prompt_tokens)
        seen = window.visible(step.query_ids[:, -1:, None].mT, step.ids)
        return seen[:, :, 0].to(step.key.dtype)
