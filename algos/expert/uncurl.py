"""UNCURL: keep the experts that the task uses.  Sarkar et al., arXiv:2409.01483."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import Parity
from algos.expert.base import ExpertMethod, check_mixtures, dropping
from algos.static.base import BlockView, ModelView, Need, Pruning

if TYPE_CHECKING:
    from torch import Tensor


def routed_share(block: BlockView) -> Tensor:
    """Return the share (experts,) of the block's routed tokens that each expert gets."""
    import torch

    samples = [block.linears[f"down.{expert}"].samples for expert in range(block.experts)]
    counts = torch.tensor([float(sum(len(x) for x in tokens)) for tokens in samples])
    return counts / counts.sum().clamp_min(1)


class Uncurl(ExpertMethod):
    """Keep the experts of each layer to which the task's tokens go most.

    From the description: the number of experts of each layer falls to what is wanted, once, by
    their use on the task; here on the calibration samples. `keep_ratio` is the share of each
    layer's experts, rounded down to at least one. The system itself is said to merge experts that
    the router likes alike and to find counting, which is done here, worse: take this for its
    budget, not for its accuracy.
    """

    name: ClassVar[str] = "uncurl"
    signal: ClassVar[str] = "tokens routed to an expert"
    paper: ClassVar[str] = "Sarkar et al., arXiv:2409.01483"
    parity: ClassVar[Parity] = "description"
    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})

    def plan(self, model: ModelView) -> Pruning:
        """Count the routed tokens."""
        import torch

        check_mixtures(model)
        scores = torch.stack([routed_share(block) for block in model.blocks])
        return dropping(scores, self.keep_ratio)
