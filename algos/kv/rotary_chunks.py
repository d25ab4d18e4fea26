"""Frequency chunks of a rotary embedding: channel pairs, and how well each finds the best keys.

ICLR 2026, arXiv:2602.03152 (FASA).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from algos.kv.keep import keep_top

if TYPE_CHECKING:
    from torch import Tensor

Pairing = Literal["adjacent", "half"]


def chunk_channels(chunks: Tensor, channels: int, pairing: Pairing) -> Tensor:
    """Return the two channels of each chunk, (..., 2 * chunks), pair by pair.

    Args:
        chunks: (..., chunks) numbers below channels / 2.
        channels: of a head.
        pairing: `half`: i and i + channels / 2, which rotate together in Llama; `adjacent`: 2i and
            2i + 1.
    """
    import torch

    if pairing == "adjacent":
        return torch.stack((2 * chunks, 2 * chunks + 1), -1).flatten(-2)
    return torch.stack((chunks, chunks + channels // 2), -1).flatten(-2)


def agreement(
    query: Tensor, key: Tensor, top: int, pairing: Pairing, visible: Tensor | None = None
) -> Tensor:
    """Return the share of a head's `top` keys that each chunk finds alone, (head, chunk).

    Args:
        query: (head, query, channel).
        key: (head, n, channel).
        top: keys compared.
        pairing: of channels.
        visible: (query, n) bool; None: every query sees every key.
    """
    import torch

    def best(q: Tensor, k: Tensor) -> Tensor:
        scores = q @ k.mT
        if visible is not None:
            scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
        return keep_top(scores, top)

    whole, found = best(query, key), []
    for chunk in torch.arange(query.shape[-1] // 2):
        at = chunk_channels(chunk[None], query.shape[-1], pairing)
        found.append((best(query[..., at], key[..., at]) & whole).double().sum(-1).mean(-1) / top)
    return torch.stack(found, -1)
