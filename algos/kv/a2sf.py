"""A2SF: accumulated attention with a forgetting factor.  Jo and Shin, arXiv:2407.20485.

Old attention counts less: one step later it is multiplied by the factor, so that early tokens,
which more queries have seen, are not favoured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Fraction, Parity
from algos.kv.base import CacheAttention, CacheStep, Storing
from algos.kv.evicting import Evicting, EvictingState
from algos.kv.keep import accumulate, group_sum

if TYPE_CHECKING:
    from torch import Tensor


def forgetting_score(probability: Tensor, forgetting: float, kv_heads: int) -> Tensor:
    """Sum attention over a group and its queries, each weighted by forgetting ** its age.

    Args:
        probability: (batch, head, query, key); the last query has age 0.
        forgetting: 1 forgets nothing.
        kv_heads: of the cache.

    Returns:
        (batch, kv_head, key).
    """
    import torch

    age = torch.arange(probability.shape[2] - 1, -1, -1)
    weight = torch.tensor(forgetting, dtype=probability.dtype) ** age
    return group_sum((probability * weight[:, None]).sum(2), kv_heads)


class A2SF(Evicting):
    """Keep the tokens that received most attention, old attention counting less, and recent ones.

    Heads of a group are added. `compat="authors"`: the program prunes after the prefill only, so
    that tokens decoded later all stay beyond the budget.
    """

    name: ClassVar[str] = "a2sf"
    signal: ClassVar[str] = "attention probability received, with a forgetting factor"
    paper: ClassVar[str] = "Jo and Shin, arXiv:2407.20485"
    parity: ClassVar[Parity] = "authors"

    forgetting: Fraction = 0.95
    """Factor of all older attention in each step; 1 is H2O with shared sums."""
    recent: Annotated[int, Field(ge=0)] = 16
    """Latest tokens that always stay."""
    compat: Literal["paper", "authors"] = "paper"
    """`paper` also evicts in each decoded step, `authors` only after the prefill."""

    @property
    def protected(self) -> int:
        """The latest tokens."""
        return self.recent

    def guarded(self, budget: int) -> tuple[int, int]:
        """Protect the latest tokens."""
        return 0, self.recent

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Forget some of what was, and add the attention of this step."""
        fresh = forgetting_score(attention.probability, self.forgetting, step.key.shape[1])
        return accumulate(state.before.get(step.layer), fresh, self.forgetting)

    def store(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Storing:
        """Evict, if this is a step where it is done."""
        if self.compat == "authors" and step.step > 0:
            return Storing()
        return super().store(step, attention, state)
