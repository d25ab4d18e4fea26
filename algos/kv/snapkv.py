"""SnapKV: the last queries of the prompt vote for what is kept of it.

Li et al., NeurIPS 2024, arXiv:2404.14469.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep, Storing
from algos.kv.evicting import Evicting, EvictingState
from algos.kv.keep import group_sum

if TYPE_CHECKING:
    from torch import Tensor


def window_votes(probability: Tensor, window: int, kv_heads: int) -> Tensor:
    """Sum the attention of the last `window` queries over a group: (batch, kv_head, key)."""
    return group_sum(probability[:, :, -window:].sum(2), kv_heads)


def pooled(votes: Tensor, reach: int) -> Tensor:
    """Average votes (batch, kv_head, key) with `reach` neighbours on each side; outside is 0."""
    from torch.nn.functional import avg_pool1d

    return avg_pool1d(votes, 2 * reach + 1, stride=1, padding=reach)


class SnapKV(Evicting):
    """Keep the prompt tokens that the prompt's last queries attend to, and those last tokens.

    Heads of a group are added. As in the paper only the prompt is pruned: tokens decoded later
    all stay, beyond the budget. That the pooling is an average of 5 is
    from a description. `compat="authors"` is the version in A2SF's program, which does not pool.
    """

    name: ClassVar[str] = "snapkv"
    signal: ClassVar[str] = "attention of the prompt's last queries, pooled over neighbours"
    paper: ClassVar[str] = "Li et al., NeurIPS 2024, arXiv:2404.14469"
    parity: ClassVar[Parity] = "authors"

    window: Annotated[int, Field(ge=1)] = 16
    """Last queries that vote; their tokens always stay."""
    reach: Annotated[int, Field(ge=0)] = 2
    """Neighbours on each side that votes are averaged with, so that clusters stay whole."""
    compat: Literal["paper", "authors"] = "paper"
    """`authors`: votes are not pooled."""

    @property
    def protected(self) -> int:
        """The tokens of the window."""
        return self.window

    def guarded(self, budget: int) -> tuple[int, int]:
        """Protect the window."""
        return 0, self.window

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Count the votes of the window."""
        votes = window_votes(attention.probability, self.window, step.key.shape[1])
        return votes if self.compat == "authors" else pooled(votes, self.reach)

    def store(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Storing:
        """Prune the prompt, once."""
        return super().store(step, attention, state) if step.step == 0 else Storing()
