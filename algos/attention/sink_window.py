"""Λ-shaped attention: the first tokens and the latest ones.

Query t attends to tokens 0..sinks-1 and to max(sinks, t - recent + 1)..t, as in StreamingLLM (Xiao
et al., ICLR 2024) and LM-Infinite (Han et al., NAACL 2024), so a cache never holds more than sinks
+ recent tokens: each sink has a place of its own, the others take turns in a ring.

Keys are cached after their rotary embedding, at their true position, so a ring never rotates them
again. Recent keys are met at their true distance. A sink drifts further away than the model was
trained for; as in LM-Infinite its distance is capped: for sinks the query is rotated as if it
stood at min(t, sinks + recent - 1). With learned positions nothing is rotated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from workloads.config import Config

if TYPE_CHECKING:
    from torch import Tensor


class SinkWindow(Config):
    """Which tokens stay. AccLLM (arXiv:2505.03745) keeps 2,048 of a context of 7 K."""

    sinks: int = Field(4, ge=0)
    """tokens kept from the start of the text"""
    recent: int = Field(2044, ge=1)
    """latest tokens kept, the query's own among them"""

    @property
    def tokens(self) -> int:
        """Tokens that a cache holds at most."""
        return self.sinks + self.recent

    def slot(self, token: int) -> int:
        """Return the place of a token in the cache, 0..tokens-1; it replaces what was there."""
        return token if token < self.sinks else self.sinks + (token - self.sinks) % self.recent

    def cached(self, token: int) -> list[int]:
        """Return the tokens that query `token` finds in the cache, ascending, itself included."""
        sinks = range(min(self.sinks, token + 1))
        return [*sinks, *range(max(self.sinks, token - self.recent + 1), token + 1)]

    def visible(self, query_ids: Tensor, key_ids: Tensor) -> Tensor:
        """Return (..., query, key) bool of positions (..., query) and (..., key)."""
        query, key = query_ids[..., :, None], key_ids[..., None, :]
        return (key <= query) & ((key < self.sinks) | (key > query - self.recent))

    def sink_position(self, query_ids: Tensor) -> Tensor:
        """Return where queries stand when they meet a sink."""
        return query_ids.clamp(max=self.tokens - 1)


def rotate(x: Tensor, offset: Tensor, inverse_frequencies: Tensor) -> Tensor:
    """Move vectors that carry a rotary embedding to another position.

    Args:
        x: (batch, head, token, channel); channel c is paired with c + channels / 2, as in Llama.
        offset: (batch, token) new position minus old one.
        inverse_frequencies: (channels / 2,) radians a position.
    """
    import torch

    angle = offset[:, None, :, None] * inverse_frequencies
    cos, sin = angle.cos(), angle.sin()
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
