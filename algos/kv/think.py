"""ThinK: channels of the key cache that the latest queries do not need.

Xu et al., ICLR 2025, arXiv:2407.21018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import Batch, Parity
from algos.kv.base import CacheAttention, CacheStep, Storing
from algos.kv.elements import Elements
from algos.kv.keep import group_mean, keep_top

if TYPE_CHECKING:
    from torch import Tensor


def channel_score(query: Tensor, key: Tensor, window: int) -> Tensor:
    """Return mean q^2 of the last `window` queries times mean k^2, (batch, kv_head, channel).

    It ranks channels like the norm of their part of the attention scores (section 3.2). Heads of
    a group are averaged.

    Args:
        query: (batch, head, query, channel), rotated.
        key: (batch, kv_head, n, channel), rotated.
        window: queries.
    """
    squares = query[:, :, -window:].square().mean(2)
    return group_mean(squares, key.shape[1]) * key.square().mean(2)


class ThinK(Elements):
    """Keep the channels of K that matter to the prompt's last queries; V and all tokens stay.

    Channels are chosen once, after the prefill, for a KV head (the authors' program repeats K, so
    that each query head chooses). Tokens decoded later lose the same channels as they leave the
    dense window. The budget is on elements of K and V, so it must be above a half; channels are
    whole, so up to one channel less is held. The trace's channels are those of old tokens.
    """

    name: ClassVar[str] = "think"
    signal: ClassVar[str] = "q^2 k^2 of a channel over the prompt's last queries"
    paper: ClassVar[str] = "Xu et al., ICLR 2025, arXiv:2407.21018"
    granularity: ClassVar[str] = "channel of K of a KV head"
    trace_kind: ClassVar[str] = "KV channels"
    parity: ClassVar[Parity] = "authors"

    window: Annotated[int, Field(ge=1)] = 32
    """Last queries of the prompt that judge the channels."""

    def begin(self, batch: Batch) -> dict[int, Any]:
        """Check the budget; the state holds the channels of each layer."""
        self.key_share(batch.tokens)
        return {}

    def store(self, step: CacheStep, attention: CacheAttention, state: dict[int, Any]) -> Storing:
        """Choose channels after the prefill; zero the others of tokens that leave the window."""
        if step.step == 0:
            count = self.count(self.key_share(step.prompt_tokens), step.key.shape[-1])
            score = channel_score(step.query, step.key, self.window)
            state[step.layer] = keep_top(score, count)
        kept: Tensor = state[step.layer]
        key, old = step.key.clone(), self.leaving(step)
        key[:, :, old] *= kept[:, :, None]
        return Storing(key=key, key_channels=kept)
