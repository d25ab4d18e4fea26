"""FTP: each block is skipped by the tokens that its router finds least important.

Li et al., arXiv:2412.11494.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from algos.base import Batch, Calibration, Decision, Parity, Ratio, WorkloadKind
from algos.selection import keep_count
from algos.token.base import Between, TokenMethod
from algos.token.shared import top_ordinals

if TYPE_CHECKING:
    from torch import Tensor

BISECTIONS = 60  # enough for a float


class FTP(TokenMethod):
    """Let the tokens that get least attention skip a block, most of them in redundant blocks.

    From the description: the paper's router is trained and its schedule searched. Here the router
    is the rank of the attention received, per query that can give any, with the first and the last
    token always computed; and blocks that turn hidden states least on calibration data skip most.
    Skipped tokens are not attended to in that block. Without calibration all blocks skip equally.
    """

    name: ClassVar[str] = "ftp"
    family: ClassVar[str] = "depth"
    signal: ClassVar[str] = "attention received in the coming block; block influence"
    paper: ClassVar[str] = "Li et al., arXiv:2412.11494"
    granularity: ClassVar[str] = "token of a block"
    trace_kind: ClassVar[str] = "token depth"
    training: ClassVar[str] = "schedule measured on calibration data; router not trained"
    parity: ClassVar[Parity] = "description"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("sentences", "text", "images", "questions")
    calibrated: ClassVar[bool] = True

    keep_ratio: Ratio = 0.75
    """Tokens that a block computes, averaged over blocks; counts are rounded down, at least 2."""

    def calibrate(self, seen: Calibration) -> tuple[float, ...]:
        """Return the influence of each block: mean angle it turns hidden states by, as 1 - cos."""
        return influences([layer.hidden for layer in seen.layers])

    def begin(self, batch: Batch) -> tuple[float, ...]:
        """Return the share of tokens that each block computes."""
        given: Sequence[float] | None = batch.calibration
        influence = (1.0,) * batch.shape.layers if given is None else given
        return schedule(influence, self.keep_ratio)

    def between(self, entry: Between, state: tuple[float, ...]) -> Decision:
        """Choose the tokens that skip the coming block."""
        import torch

        tokens = entry.ids.shape[1]
        k = min(tokens, max(2, keep_count(state[entry.layer], tokens)))
        if k == tokens:
            return Decision()
        score = received_per_query(entry.look_ahead().probability)
        computed = top_ordinals(score[:, 1:-1], k - 2) + 1
        bypass = torch.ones(entry.ids.shape, dtype=torch.bool).scatter(1, computed, False)
        bypass[:, [0, -1]] = False
        return Decision(bypass=bypass, token_importance=score)


def influences(hidden: Sequence[Tensor]) -> tuple[float, ...]:
    """Return 1 - mean cosine between what enters each block and the next, one a block.

    The last block's output is not seen: it is given the influence of the most influential.
    """
    from torch.nn.functional import cosine_similarity

    pairs = pairwise(hidden)
    values = [1 - float(cosine_similarity(a, b, dim=-1).mean()) for a, b in pairs]
    return (*values, max(values, default=1.0))


def schedule(influence: Sequence[float], average: float) -> tuple[float, ...]:
    """Return the share of tokens each block computes; what they skip is as 1 / influence.

    Args:
        influence: of each block, not negative.
        average: mean of the shares. A block skips all tokens at most.
    """
    weight = [1 / max(value, 1e-6) for value in influence]
    low, high = 0.0, 1 / min(weight)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        skipped = sum(min(1.0, middle * w) for w in weight)
        low, high = (middle, high) if skipped < (1 - average) * len(weight) else (low, middle)
    return tuple(1 - min(1.0, high * w) for w in weight)


def received_per_query(probability: Tensor) -> Tensor:
    """Return the attention each key gets of a query that sees it, mean over heads, (batch, key).

    Args:
        probability: (batch, head, query, key); exact zeros are not seen.
    """
    mean = probability.mean(1)
    return mean.sum(1) / (mean > 0).sum(1).clamp_min(1)
