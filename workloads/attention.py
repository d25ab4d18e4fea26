"""The attention of one step in plain torch, and the mask it needs once tokens are gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor, dtype


@dataclass(frozen=True, kw_only=True)
class AttentionOutput:
    """What an attention layer returns."""

    output: Tensor  # (batch, head, query, channel)
    probability: Tensor  # (batch, head, query, key)


def dense_attention(step: AttentionStep) -> AttentionOutput:
    """Compute plain attention, operation by operation as transformers' eager implementation."""
    import torch

    group = step.query.shape[1] // step.key.shape[1]
    key, value = step.key, step.value
    if group > 1:
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    probability = attention_probability(step.query, key, step.scale, step.mask)
    return AttentionOutput(output=torch.matmul(probability, value), probability=probability)


def attention_probability(query: Tensor, key: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Return softmax(query . key * scale + mask), (batch, head, query, key).

    Args:
        query: (batch, head, query, channel).
        key: (batch, head, key, channel), already repeated for grouped heads.
        scale: multiplies the scores.
        mask: (1 or batch, 1, query, key), added to the scores; None: all is visible.
    """
    import torch

    scores = torch.matmul(query, key.transpose(2, 3)) * scale
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, -1, torch.float32).to(query.dtype)


def visible_mask(
    mask: Tensor | None, causal: bool, query_ids: Tensor, key_ids: Tensor, kind: dtype
) -> Tensor | None:
    """Return the mask added to scores for the tokens left, (1 or batch, 1, query, key).

    Args:
        mask: what the model made for all its tokens, boolean (true: visible) or additive,
            (1 or batch, 1, query, key); None: no mask. Rows and columns of dropped tokens are
            taken out, the rest is kept as it is.
        causal: without a mask, still hide later keys from each query.
        query_ids: (batch, query) positions of the queries in the unpruned sequence.
        key_ids: (batch, key) positions of the keys.
        kind: type of the scores.
    """
    import torch

    if mask is None:
        if not causal or query_ids.shape[1] == 1:
            return None
        mask = key_ids[:, None, None, :] <= query_ids[:, None, :, None]
    elif mask.shape[-2:] != (query_ids.shape[1], key_ids.shape[1]):
        past = mask.shape[-1] - mask.shape[-2]  # position of the mask's first row
        mask = mask.expand(len(query_ids), -1, -1, -1)
        rows = (query_ids - past)[:, None, :, None].expand(-1, -1, -1, mask.shape[-1])
        columns = key_ids[:, None, None, :].expand(-1, -1, query_ids.shape[1], -1)
        mask = mask.gather(2, rows).gather(3, columns)
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=kind).masked_fill(~mask, torch.finfo(kind).min)
    return mask
