"""DHA: key/value heads that are alike are fused and shared.

Chen et al., NeurIPS 2024, arXiv:2406.06567.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.head.base import HeadMethod
from algos.linkage import clusters
from algos.selection import keep_count
from algos.static.base import BlockPruning, BlockView, ModelView, PrunedWeight, Pruning
from algos.token.shared import cosine

if TYPE_CHECKING:
    from torch import Tensor


def head_distance(rows: Tensor) -> Tensor:
    """Return 1 - cosine (heads, heads) of the weights (heads, n) of heads."""
    return 1 - cosine(rows.float(), rows.float())


def fused(rows: Tensor, labels: list[int]) -> Tensor:
    """Return weights (heads, n) in which the heads of a cluster all have its mean."""
    import torch

    label = torch.tensor(labels)
    return torch.stack([rows[label == cluster].mean(0) for cluster in labels])


class Dha(HeadMethod):
    """Keep fewer key/value heads: those whose weights are alike become one, their mean.

    From the description: heads are clustered by the cosine of their key and value weights; one map
    serves keys and values, which the paper groups apart, and the mean stands for the fusion that
    the paper learns by training. `keep_ratio` is the share of each layer's key/value heads,
    rounded down to at least one; all query heads stay.

    Without training half the heads cost more than random query heads do: the tiny decoder's heads
    are nearly orthogonal (cosines of -0.14 to 0.09), so their mean resembles none of them. Its loss
    goes from 0.85 to 4.01 nats a token at a half (random heads: 3.12), to 1.37 at three quarters.
    """

    name: ClassVar[str] = "dha"
    signal: ClassVar[str] = "cosine of key and value weights"
    paper: ClassVar[str] = "Chen et al., NeurIPS 2024, arXiv:2406.06567"
    granularity: ClassVar[str] = "key/value heads"
    parity: ClassVar[Parity] = "description"

    def plan(self, model: ModelView) -> Pruning:
        """Cluster the key/value heads of each layer."""
        kept = keep_count(self.keep_ratio, model.shape.kv_heads)
        return Pruning(blocks=tuple(_shared(block, kept) for block in model.blocks))


def _shared(block: BlockView, kept: int) -> BlockPruning:
    import torch

    parts = {name: block.linears[name] for name in ("key", "value")}
    heads = block.shape.kv_heads
    rows = torch.cat([matrix.weight.reshape(heads, -1) for matrix in parts.values()], 1)
    labels = clusters(head_distance(rows), kept)
    weights, biases = {}, {}
    for name, matrix in parts.items():
        weight = fused(matrix.weight.reshape(heads, -1), labels).view_as(matrix.weight)
        weights[name] = PrunedWeight(weight=weight, pattern="structured")
        if matrix.bias is not None:
            mean = fused(matrix.bias.reshape(heads, -1), labels).view_as(matrix.bias)
            biases[name] = mean - matrix.bias
    first = torch.tensor([labels.index(label) for label in labels])
    return BlockPruning(weights=weights, biases=biases, kv_heads=first)
