"""FEATHER: attention without the pull of position, and a few tokens from everywhere.

Endo, Wang, Yeung-Levy, ICCV 2025, arXiv:2412.13180.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import Fraction, Parity
from algos.token.base import Between
from algos.token.cuts import VisualCuts, seen
from algos.token.shared import cut_layers, staged_counts

if TYPE_CHECKING:
    from torch import Tensor

CUTS = (8 / 32, 16 / 32)  # of the depth of the paper's model
DROPS = (2 / 3, 1.0)  # an estimate


class Feather(VisualCuts):
    """Drop the visual tokens that the last token attends to least if keys have no position.

    From the description: the first cut also keeps evenly spaced tokens, the second does not. The
    share that is evenly spaced, and what each cut drops, are estimates. The rotation that is taken
    back pairs channel c with c + half, as Llama does.
    """

    name: ClassVar[str] = "feather"
    signal: ClassVar[str] = "attention of the last token without rotary embedding; even spacing"
    paper: ClassVar[str] = "Endo et al., ICCV 2025, arXiv:2412.13180"
    parity: ClassVar[Parity] = "description"

    uniform_share: Fraction = 0.5
    """Share of the tokens kept at the first cut that are evenly spaced, rounded down."""
    rotary_base: Annotated[float, Field(ge=0)] = 10000.0
    """Base of the model's rotary embedding; 0: it has none."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut twice."""
        counts = staged_counts(DROPS, self.keep_ratio, n)
        return dict(zip(cut_layers(CUTS, layers), counts, strict=True))

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the attention; at the first cut evenly spaced tokens are above all others."""
        step = seen(entry).step
        query, key = step.query[:, :, -1:], step.key
        if self.rotary_base:
            query = unrotated(query, step.query_ids[:, -1:], self.rotary_base)
            key = unrotated(key, step.key_ids, self.rotary_base)
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        score = (query @ key.mT * step.scale).softmax(-1)[:, :, 0].mean(1)[:, where].clone()
        if entry.layer == min(state.counts):
            spaced = math.floor(self.uniform_share * state.counts[entry.layer])
            score[:, evenly(spaced, score.shape[1])] += 2  # no attention is above 1
        return score


def unrotated(x: Tensor, ids: Tensor, base: float) -> Tensor:
    """Take the rotary embedding back.

    Args:
        x: (batch, head, token, channel).
        ids: (batch, token) the positions it was rotated by.
        base: of the embedding.
    """
    import torch

    half = x.shape[-1] // 2
    frequency = base ** -(torch.arange(half) / half)
    angle = (ids[:, None, :, None] * frequency).to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos + second * sin, second * cos - first * sin], -1)


def evenly(k: int, n: int) -> list[int]:
    """Return k evenly spaced numbers below n, 0 first."""
    return [i * n // k for i in range(k)]
