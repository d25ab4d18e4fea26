"""Random eviction: the control that says whether a signal is worth anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.kv.base import CacheAttention, CacheStep
from algos.kv.evicting import Evicting, EvictingState
from algos.token.shared import random_scores

if TYPE_CHECKING:
    from torch import Tensor


class RandomEviction(Evicting):
    """Keep tokens drawn at random, each KV head its own: a null baseline.

    A token gets one number when it enters, and goes when the number is the smallest that is held.
    """

    name: ClassVar[str] = "random-kv"
    signal: ClassVar[str] = "uniform random numbers"
    paper: ClassVar[str] = "none"
    parity: ClassVar[Parity] = "hand"

    def score(self, step: CacheStep, attention: CacheAttention, state: EvictingState) -> Tensor:
        """Draw numbers for the new tokens."""
        import torch

        before = state.before.get(step.layer)
        known = 0 if before is None else before.shape[-1]
        shape = step.key.shape[1], step.entries - known
        fresh = random_scores(state.batch.generators, *shape)
        return fresh if before is None else torch.cat((before, fresh), -1)
