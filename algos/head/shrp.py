"""SHRP: keep the heads that tokens choose.  Su et al., arXiv:2512.20635."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.head.base import HeadMethod, best_heads
from algos.selection import best_first, keep_count
from algos.static.base import BlockView, ModelView, Need, Pruning
from algos.static.planned import joined

if TYPE_CHECKING:
    from torch import Tensor


def usage(contribution: Tensor) -> Tensor:
    """Return the share (heads,) of tokens whose Top-1 choice is the head.

    Args:
        contribution: (tokens, heads) what a token's choice is made by; of equals the lower head.
    """
    import torch

    chosen = best_first(contribution, 1)[:, 0]
    return torch.bincount(chosen, minlength=contribution.shape[1]) / len(contribution)


def contributions(context: Tensor, output: Tensor) -> Tensor:
    """Return the norm (tokens, heads) of what each head adds to the hidden state.

    Args:
        context: (tokens, heads, head_dim).
        output: (hidden, heads * head_dim) weight of the output projection.
    """
    import torch

    heads, head_dim = context.shape[1:]
    parts = output.view(len(output), heads, head_dim)
    norms: Tensor = torch.einsum("thd,ohd->tho", context, parts).norm(dim=-1)
    return norms


class Shrp(HeadMethod):
    """Keep the heads of each layer that most tokens would choose.

    From the description: in the paper a router is trained in which a token chooses one head, and
    heads stay by how often they are chosen. The router is replaced by the norm of what a head adds
    to the hidden state of the token, on calibration samples; the shared expander that the paper
    trains is left out. `keep_ratio` is the share of each layer's heads, rounded down to at least
    one.
    """

    name: ClassVar[str] = "shrp"
    signal: ClassVar[str] = "how often a head adds most to a token"
    paper: ClassVar[str] = "Su et al., arXiv:2512.20635"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})

    def plan(self, model: ModelView) -> Pruning:
        """Count the choices of the calibration tokens."""
        import torch

        score = torch.stack([_usage_of(block) for block in model.blocks])
        kept = keep_count(self.keep_ratio, score.shape[1])
        return Pruning.of_masks(heads=best_heads(score, kept))


def _usage_of(block: BlockView) -> Tensor:
    output = block.linears["output"]
    context = joined(output.samples)
    context = context.view(len(context), block.shape.heads, -1)
    return usage(contributions(context, output.weight))
