"""FASA: a few frequencies of the rotary embedding tell which tokens a head attends to.

Wang et al., ICLR 2026, arXiv:2602.03152. Offline, the chunks (channel pairs) of a head are found
whose products alone pick nearly the same keys as all channels do; online, they pick the keys of
each step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from algos.base import Batch, Calibration, Fraction, Parity
from algos.kv.base import CacheMethod, CacheStep, Reading
from algos.kv.keep import keep_top
from algos.kv.rotary_chunks import Pairing, agreement, chunk_channels
from algos.selection import kept_ids
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def partial_scores(query: Tensor, key: Tensor, channels: Tensor) -> Tensor:
    """Return query . key over some channels: (..., n) of (..., c), (..., n, c) and (..., used)."""
    at = channels.unsqueeze(-2).expand(*key.shape[:-1], -1)
    scores: Tensor = (key.gather(-1, at) * query.gather(-1, channels).unsqueeze(-2)).sum(-1)
    return scores


class FASA(CacheMethod):
    """Read the tokens that the dominant frequency chunks of each query head find, in each step.

    The cache stays whole, the prefill and layer 0 are dense, no token is forced but the newest.
    `compat="authors"`: a chunk is two adjacent channels, though the rotary embedding turns i and
    i + channels / 2 together.
    """

    name: ClassVar[str] = "fasa"
    signal: ClassVar[str] = "query . key over dominant frequency chunks"
    paper: ClassVar[str] = "Wang et al., ICLR 2026, arXiv:2602.03152"
    granularity: ClassVar[str] = "token of a query head"
    trace_kind: ClassVar[str] = "KV set, re-select"
    training: ClassVar[str] = "dominant chunks measured on calibration text"
    parity: ClassVar[Parity] = "authors"
    policy: ClassVar[str] = "reselect"
    calibrated: ClassVar[bool] = True

    chunk_share: Fraction = 0.25
    """Chunks of a head that are used, at least one; the authors take 16 of 64."""
    top: Annotated[int, Field(ge=1)] = 32
    """Keys compared in the calibration; the authors take 128 and more, in longer texts."""
    compat: Literal["paper", "authors"] = "paper"
    """Which channels are a chunk."""

    @property
    def pairing(self) -> Pairing:
        """Which channels are a chunk."""
        return "half" if self.compat == "paper" else "adjacent"

    def calibrate(self, seen: Calibration) -> list[Tensor]:
        """Return the channels (head, used) of each layer, from the later half of the queries.

        Raises:
            InputError: the calibration texts are too short.
        """
        import torch

        n = seen.tokens.shape[1]
        if n < 2 * self.top:
            raise InputError(f"fasa needs calibration texts of {2 * self.top} tokens, not {n}")
        visible = torch.arange(n) <= torch.arange(n // 2, n)[:, None]
        layers = []
        for layer in seen.layers:
            query, key = layer.step.query[:, :, n // 2 :], layer.step.key
            key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
            found = [
                agreement(*pair, self.top, self.pairing, visible)
                for pair in zip(query, key, strict=True)
            ]
            layers.append(self.dominant(torch.stack(found).mean(0), query.shape[-1]))
        return layers

    def dominant(self, shares: Tensor, channels: int) -> Tensor:
        """Return the channels (head, used) of the best chunks of shares (head, chunk)."""
        count = max(1, int(self.chunk_share * shares.shape[-1]))
        chunks = kept_ids(keep_top(shares, count))
        return chunk_channels(chunks, channels, self.pairing)

    def begin(self, batch: Batch) -> list[Tensor]:
        """Check the budget and return the dominant channels."""
        self.budget(batch.tokens)
        if batch.calibration is None:
            raise InputError("fasa must be calibrated before it runs, it was not")
        channels: list[Tensor] = batch.calibration
        return channels

    def read(self, step: CacheStep, state: list[Tensor]) -> Reading:
        """Pick the budget among the older tokens; the newest is read anyhow."""
        from torch.nn.functional import pad

        if step.step == 0 or step.layer == 0:
            return Reading()
        channels = state[step.layer].expand(len(step.query), -1, -1)
        old = step.key[:, :, :-1].repeat_interleave(step.repeat, 1)
        scores = partial_scores(step.query[:, :, -1], old, channels)
        mask = pad(keep_top(scores, self.budget(step.prompt_tokens)), (0, 1), value=True)
        return Reading(
            mask=mask[:, :, None],
            scored_keys=old.shape[2],
            scored_channels=channels.shape[-1],
        )
