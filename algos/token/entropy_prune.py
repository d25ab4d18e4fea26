"""EntropyPrune: keep the visual tokens whose heads say the most different things.

Wang et al., arXiv:2602.17196. A token's matrix entropy is that of the spectrum of the Gram matrix
of its query vectors, one a head: head by head is small, channel by channel would have the same
eigenvalues.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from algos.base import Parity
from algos.token.base import Between
from algos.token.cuts import VisualCuts, seen

if TYPE_CHECKING:
    from torch import Tensor

LEAST_EIGENVALUE = 1e-10  # of the authors' program


class EntropyPrune(VisualCuts):
    """Drop, at one early layer, the visual tokens of the lowest matrix entropy.

    Uses no attention. The authors' program does not divide the Gram matrix by its trace, so that
    its entropies are unbounded and fall with a token's norm; the default does.
    Slack: a budget that the unpruned first layers already exceed keeps one token.
    """

    name: ClassVar[str] = "entropy-prune"
    signal: ClassVar[str] = "matrix entropy of a token's query vectors over heads"
    paper: ClassVar[str] = "Wang et al., arXiv:2602.17196"
    parity: ClassVar[Parity] = "authors"

    keep_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Visual tokens kept, averaged over all layers, rounded down."""
    layer: Annotated[int, Field(ge=1)] = 2
    """Layers that see every visual token, all but the last of a shallow model; after them the
    entropy collapses."""
    compat: Literal["paper", "authors"] = "paper"
    """"authors": do not divide the Gram matrix by its trace."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Return what keeps the average when the first layers keep all."""
        whole = min(self.layer, max(layers - 1, 1))
        rest = max(layers - whole, 1)
        average = math.floor((layers * self.keep_ratio - whole) * n / rest + 1e-9)
        return {whole: max(1, average)}

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the entropies of the layer before."""
        query = seen(entry).step.query[:, :, where]
        return matrix_entropy(query, unit_trace=self.compat == "paper")


def matrix_entropy(query: Tensor, unit_trace: bool) -> Tensor:
    """Return the entropy of each token, (batch, token) float64.

    Args:
        query: (batch, head, token, channel), rotated.
        unit_trace: scale the eigenvalues to sum 1, so that the entropy is at most 1.
    """
    import torch

    x = query.transpose(1, 2).double()
    heads = x.shape[2]
    x = x - x.mean(2, keepdim=True)
    if not bool(x.isfinite().all()):  # the eigensolver would refuse it in its own words
        return x.sum((2, 3)) * torch.nan
    eigenvalue = torch.linalg.eigvalsh(x @ x.mT / heads).clamp_min(LEAST_EIGENVALUE)
    if unit_trace:
        eigenvalue = eigenvalue / eigenvalue.sum(-1, keepdim=True)
    entropy: Tensor = -(eigenvalue * eigenvalue.log()).sum(-1)
    return entropy / math.log(heads) if heads > 1 else entropy
