"""Decode with a method whose dropped tokens and heads never come back, in any step.

Each step starts from all heads and from every token that its first layer holds. What is decided
after a layer holds for the next one: the K and V of a token that is dropped before a layer leave
that layer's cache (cascade pruning; SpAtten, HPCA 2021, section III).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from algos.base import Decision
from algos.kv.base import Storing
from algos.kv.cache import LayerCache
from algos.layer_runner import LayerRunner
from workloads.session import LayerInput
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor


class CascadingRunner(LayerRunner):
    """The handler of one sequence: how many tokens a layer has left differs among sequences."""

    alone: ClassVar[bool] = True
    kv_policy: ClassVar[str] = "evict"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._every_head = self._heads
        self._alive: Any = None  # (1, key) positions that the running layer may attend to

    def enter_layer(self, entry: LayerInput) -> LayerInput:
        """Apply what was decided after the last layer: to the prompt, later to the cache."""
        import torch

        if entry.layer == 0:
            self._decision, self._heads = Decision(), self._every_head
            self._alive = torch.arange(entry.tokens_dense)[None]
        if entry.step == 0:
            return super().enter_layer(entry)
        kept = self._decision.kept_tokens
        entry = self._apply(entry, replace(self._decision, kept_tokens=None))
        if kept is not None:
            self._alive = self._alive.gather(1, kept)
            if self._importance is not None:
                self._importance = self._importance.gather(1, kept)
        return entry

    def _with_cache(self, step: AttentionStep) -> AttentionStep:
        step = super()._with_cache(step)
        self._alive = step.key_ids
        return step

    def _left(self, cache: LayerCache) -> LayerCache:
        """Return the cache without the tokens that this layer has lost."""
        import torch

        keep: Tensor = torch.isin(cache.ids, self._alive)
        self._evicted = int((~keep[0, 0]).sum())
        return cache.apply(Storing(keep=keep))
