"""Head importance: what the loss would feel of a head's gate.

Michel et al., NeurIPS 2019, arXiv:1905.10650.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.head.base import HeadMethod, best_heads
from algos.selection import keep_count
from algos.static.base import LinearView, ModelView, Need, Pruning

if TYPE_CHECKING:
    from torch import Tensor


def head_importance(context: Tensor, gradient: Tensor) -> Tensor:
    """Return the importance (heads,): mean over tokens of |context . gradient|.

    Args:
        context: (tokens, heads, head_dim) what the heads give to the output projection.
        gradient: of the loss by the context, as `context`.
    """
    felt: Tensor = (context * gradient).sum(-1)
    return felt.abs().mean(0)


def normalised(importance: Tensor) -> Tensor:
    """Return importances (layers, heads) divided by the L2 norm of their layer."""
    norm: Tensor = importance.norm(dim=1, keepdim=True)
    return importance / norm.clamp_min(1e-30)


class Michel(HeadMethod):
    """Keep the heads of the whole model whose gates the loss would feel most.

    Importances are divided by the L2 norm of their layer and measured once, so that the paper's
    steps of a tenth come to the same as one cut. `keep_ratio` is the share of heads, rounded down
    to at least one; a layer may lose all of them.
    """

    name: ClassVar[str] = "michel"
    signal: ClassVar[str] = "gradient of the loss by a head's gate"
    paper: ClassVar[str] = "Michel et al., NeurIPS 2019, arXiv:1905.10650"
    parity: ClassVar[Parity] = "hand"
    needs: ClassVar[frozenset[Need]] = frozenset({"input_gradients"})

    def plan(self, model: ModelView) -> Pruning:
        """Rank the heads of all layers."""
        import torch

        heads = model.shape.heads
        found = [_importance(block.linears["output"], heads) for block in model.blocks]
        score = normalised(torch.stack(found))
        kept = keep_count(self.keep_ratio, score.numel())
        return Pruning.of_masks(heads=best_heads(score.view(1, -1), kept).view_as(score))


def _importance(output: LinearView, heads: int) -> Tensor:
    import torch

    assert output.input_gradients is not None
    both = torch.stack([torch.cat(output.samples), torch.cat(output.input_gradients)])
    return head_importance(*both.view(2, both.shape[1], heads, -1))
