"""Information flow from patches to the class token of a vision encoder.

Tong et al. (FlowCut), NeurIPS 2025, arXiv:2505.19536.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from algos.visual.ranking import finite

if TYPE_CHECKING:
    from torch import Tensor

KEPT_OF_PAST = 0.5  # of the score accumulated so far, as much as of the new one


def semantic_attention(value: Tensor) -> Tensor:
    """Return what each patch's value resembles of the class token's, mean over heads, (batch, n).

    The softmax, over all tokens, of unscaled inner products.

    Args:
        value: (batch, head, 1 + n, channel), the class token first.
    """
    inner = (value[:, :, :1] @ value.transpose(2, 3))[:, :, 0]
    return inner.softmax(-1).mean(1)[:, 1:]


def flow_score(attention: Tensor, semantic: Tensor, value: Tensor) -> Tensor:
    """Return each patch's share of the flow to the class token in one layer, (batch, n).

    Args:
        attention: (batch, n) class attention.
        semantic: (batch, n) of `semantic_attention`.
        value: (batch, n, channel) mean over heads.
    """
    flow = _shares(attention) + _shares(semantic)
    return finite(flow * value.abs().sum(-1), "information flow")


def accumulate(past: Tensor | None, score: Tensor) -> Tensor:
    """Return the score accumulated over layers; the first layer's is its own."""
    return score if past is None else KEPT_OF_PAST * past + (1 - KEPT_OF_PAST) * score


def patches_to_drop(attention: Tensor, target: int, layers_left: int) -> Tensor:
    """Return how many patches each image drops after a layer, (batch,) int64.

    Nothing after every other layer. Else a part of those above the target: the more, the fewer
    layers are left and the more concentrated the class attention is (1 - squared entropy, as a
    share of the largest). With no layers left, all above the target.

    Args:
        attention: (batch, n) class attention.
        target: patches to arrive at.
        layers_left: layers that follow, up to the one that the language model sees.
    """
    import torch

    n = attention.shape[1]
    surplus = n - target
    if layers_left % 2 or surplus <= 0:
        return torch.zeros(len(attention), dtype=torch.long)
    if layers_left == 0:
        return torch.full((len(attention),), surplus)
    share = _shares(finite(attention, "class attention").double())
    entropy = torch.special.entr(share).sum(1) / math.log(n)
    dropped: Tensor = surplus / math.sqrt(layers_left) * (1 - entropy.square())
    return dropped.round().long().clamp(0, surplus)


def _shares(x: Tensor) -> Tensor:
    return x / x.sum(-1, keepdim=True)
