"""Mustafar: unstructured pruning of the elements of K and V, token by token.

Joo et al., NeurIPS 2025, arXiv:2505.22913.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep, Storing
from algos.kv.elements import Elements
from algos.kv.keep import group_sum, keep_top

if TYPE_CHECKING:
    from torch import Tensor

Compat = Literal["paper", "authors"]


def kept_count(channels: int, sparsity: float, compat: Compat = "paper") -> int:
    """Return how many elements of a token stay.

    All but floor(sparsity * channels). The authors' threshold is the largest of those that should
    go, at least one, and what equals it stays: one more.
    """
    if compat == "authors":
        return channels - max(1, int(sparsity * channels)) + 1
    return channels - int(sparsity * channels + 1e-9)


def key_weight(query: Tensor, kv_heads: int) -> Tensor:
    """Return what a key channel is multiplied by, (batch, kv_head, channel).

    The mean |q| of the latest queries (batch, head, query, channel), summed over a group.
    """
    return group_sum(query.abs().mean(2), kv_heads)


def largest(x: Tensor, count: int, weight: Tensor | None = None) -> Tensor:
    """Mark the `count` largest |x| * weight of each token.

    V needs no weight: the attention to its token is the same for all channels.

    Args:
        x: (batch, kv_head, token, channel) of K or V.
        count: elements of a token.
        weight: (batch, kv_head, channel); None: 1.
    """
    return keep_top(x.abs() if weight is None else x.abs() * weight[:, :, None], count)


class Mustafar(Elements):
    """Keep the largest elements of K and V of each token that has left the dense window.

    `criterion="output"` weighs K by the latest queries. Each token keeps the same number of
    elements, rounded down, so up to one element a row less than the budget is held.
    `compat="authors"` (magnitude only) keeps one more.
    """

    name: ClassVar[str] = "mustafar"
    signal: ClassVar[str] = "magnitude of an element"
    paper: ClassVar[str] = "Joo et al., NeurIPS 2025, arXiv:2505.22913"
    granularity: ClassVar[str] = "element of K and V"
    trace_kind: ClassVar[str] = "KV elements"
    parity: ClassVar[Parity] = "authors"

    criterion: Literal["magnitude", "output"] = "magnitude"
    """Score of an element of K: its magnitude, or that times the latest queries'."""
    compat: Compat = "paper"
    """How many elements of a token stay."""

    def store(self, step: CacheStep, attention: CacheAttention, state: dict[int, Any]) -> Storing:
        """Zero the smallest elements of the tokens that leave the window."""
        channels, old = step.key.shape[-1], self.leaving(step)
        whole = self.count(self.old_share(step.prompt_tokens), channels)
        count = kept_count(channels, (channels - whole) / channels, self.compat)
        weight = None
        if self.criterion == "output":
            weight = key_weight(self._latest(step, state), step.key.shape[1])
        key, value = step.key.clone(), step.value.clone()
        key[:, :, old] *= largest(key[:, :, old], count, weight)
        value[:, :, old] *= largest(value[:, :, old], count)
        return Storing(key=key, value=value)

    def _latest(self, step: CacheStep, state: dict[int, Any]) -> Tensor:
        """Return the latest queries, as many as the window is long, at least one."""
        import torch

        queries = step.query
        if step.layer in state:
            queries = torch.cat((state[step.layer], queries), 2)
        state[step.layer] = queries[:, :, -max(self.recent, 1) :]
        latest: Tensor = state[step.layer]
        return latest
