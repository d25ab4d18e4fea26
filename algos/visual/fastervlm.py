"""FasterVLM: the visual tokens that the class token looks at most; the plain attention baseline.

Zhang et al., arXiv:2412.01818.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algos.visual.ranking import class_attention, top_ids

if TYPE_CHECKING:
    from torch import Tensor


def attended(attention: Tensor, k: int) -> Tensor:
    """Return the k patches with most class attention, mean over heads, ascending, (batch, k).

    Args:
        attention: (batch, head, 1 + N, 1 + N) of one layer, the class token first.
        k: tokens to keep.
    """
    return top_ids(class_attention(attention), k)
