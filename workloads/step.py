"""What a pruning method sees of a model: one attention layer of one step, frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class AttentionStep:
    """Inputs of one attention layer, as the model computed them.

    All sequences of a batch have the same number of tokens; there is no padding.
    """

    layer: int
    step: int  # 0: prefill or encoder pass; n: n-th generated token
    query: Tensor  # (batch, head, query, channel)
    key: Tensor  # (batch, kv_head, key, channel)
    value: Tensor  # (batch, kv_head, key, channel)
    scale: float  # multiplies query . key before softmax
    mask: Tensor | None  # (1 or batch, 1, query, key), added to scores; None: all is visible
    query_ids: Tensor  # (batch, query) positions in the unpruned sequence
    key_ids: Tensor  # (batch, key) positions in the unpruned sequence
    tokens_dense: int  # tokens of the unpruned sequence so far
