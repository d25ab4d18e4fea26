"""What methods share that score the entries of a cache and evict the worst."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from algos.base import Batch
from algos.kv.base import CacheAttention, CacheMethod, CacheStep, Storing
from algos.kv.keep import keep_budget, survivors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class EvictingState:
    """Scores of what each layer holds."""

    batch: Batch
    before: dict[int, Tensor] = field(default_factory=dict)  # layer: (batch, group, entry)


class Evicting(CacheMethod):
    """Base of methods that hold the best-scored entries, cut back after each step; abstract."""

    granularity: ClassVar[str] = "token of a KV head"
    trace_kind: ClassVar[str] = "KV set, evict"

    def begin(self, batch: Batch) -> EvictingState:
        """Check the budget and return empty accumulators."""
        self.budget(batch.tokens)
        return EvictingState(batch)

    @abstractmethod
    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Return (batch, group, entry); `state.before[step.layer]` has the survivors' old ones."""

    def guarded(self, budget: int) -> tuple[int, int]:
        """Return how many tokens are protected at the start and at the end."""
        return 0, 0

    def store(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Storing:
        """Score what is held, and keep the budget."""
        score = self.score(step, attention, state)
        budget = self.budget(step.prompt_tokens)
        sinks, recent = self.guarded(budget)
        keep = keep_budget(score, budget, sinks=sinks, recent=recent)
        state.before[step.layer] = survivors(score, keep)
        return Storing(keep=keep)
