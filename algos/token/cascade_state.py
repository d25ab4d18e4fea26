"""What cascade pruning remembers of a batch, and how it chooses among those that are alive.

Importances are held by position in the sequence and by head, so that they go on adding up while
tokens and heads leave, over the layers of a step and over the steps of a decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from algos.base import Selection
from algos.selection import importance_codes, kept_ids, top_mask
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass
class CascadeState:
    """What one batch has accumulated so far."""

    token_ratios: tuple[float, ...]  # kept of what enters each layer
    head_ratios: tuple[float, ...]
    generators: tuple[Generator, ...]
    guarded: int  # latest tokens that go through all layers of their step
    token_importance: Tensor  # (batch, token so far), by position
    head_importance: Tensor  # (batch, head), by number
    heads: Tensor  # (batch, alive) numbers of the heads of the running layer
    tokens_left: dict[int, Tensor] = field(default_factory=dict)  # layer -> (batch, alive)
    # positions that entered it in the last step
    heads_left: dict[int, Tensor] = field(default_factory=dict)  # layer -> (batch, alive)

    def enter(self, step: AttentionStep) -> None:
        """Begin a layer: before the first all heads are alive, and new tokens matter nothing."""
        import torch

        if step.layer:
            return
        batch, heads = self.head_importance.shape
        self.heads = torch.arange(heads).expand(batch, -1)
        new = step.tokens_dense - self.token_importance.shape[1]
        fresh = self.token_importance.new_zeros(batch, new)
        self.token_importance = torch.cat((self.token_importance, fresh), 1)

    def tokens_that_may(self, step: AttentionStep) -> Tensor | None:
        """Tell which keys of a step may enter the next layer, (batch, key); None: all.

        Those that it had in the last step, and what is new in this one.
        """
        before = self.tokens_left.get(step.layer + 1)
        if before is None:
            return None
        return _among(step.key_ids, before) | (step.key_ids >= step.query_ids[:, :1])

    def heads_that_may(self, layer: int) -> Tensor | None:
        """Tell which heads of a layer may run in the next one, (batch, alive); None: all."""
        before = self.heads_left.get(layer + 1)
        return None if before is None else _among(self.heads, before)


def select(
    kind: str,
    importance: Tensor,
    may: Tensor | None,
    keep: int,
    chosen: list[Selection],
    guarded: int = 0,
) -> Tensor | None:
    """Return which stay, (batch, kept) ordinals in ascending order; None: all.

    Args:
        kind: "token" or "head".
        importance: (batch, n), not negative.
        may: (batch, n) bool, as many in each row: which may stay at all; None: all may.
        keep: how many stay, if so many may.
        chosen: gets the selection that hardware has to make, if there is one.
        guarded: of the last ones that stay whatever their importance; they count as kept, and
            `may` has them.
    """
    import torch

    n = importance.shape[1]
    places = torch.arange(n).expand_as(importance) if may is None else kept_ids(may)
    free, last = places.tensor_split([places.shape[1] - guarded], 1)
    k = min(keep, places.shape[1]) - guarded
    if 0 < k < free.shape[1]:
        codes = importance_codes(importance.gather(1, free))
        chosen.append(Selection(kind=kind, codes=codes[:, None, None], k=k, per_head=False))
        free = free.gather(1, kept_ids(top_mask(codes, k)))
    kept = torch.cat((free[:, :k], last), 1)
    return None if kept.shape[1] == n else kept


def _among(ids: Tensor, some: Tensor) -> Tensor:
    """Tell which of `ids` (batch, n) are in the same row of `some` (batch, m)."""
    return (ids[:, :, None] == some[:, None, :]).any(2)
