"""LazyLLM: prompt tokens that the next token needs least are put off, layer by layer.

Fu et al., arXiv:2407.14057.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from algos.base import Batch, Fraction, Parity, WorkloadKind
from algos.token.base import Between
from algos.token.cuts import CutMethod, seen
from algos.token.shared import cut_layers, last_attention, staged_counts

if TYPE_CHECKING:
    from torch import Tensor


class LazyLLM(CutMethod):
    """Drop, progressively, the prompt tokens that the last token attends to least.

    From the description: no program is released. The last token always stays. Each decision is
    made anew from the tokens that it is offered, so a token dropped in one step comes back in
    another if it is offered again; the prefill is where this class is asked. The cuts' place and
    their equal steps are estimates.
    """

    name: ClassVar[str] = "lazy-llm"
    signal: ClassVar[str] = "attention of the last token"
    paper: ClassVar[str] = "Fu et al., arXiv:2407.14057"
    granularity: ClassVar[str] = "token"
    parity: ClassVar[Parity] = "description"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("text", "questions")

    cuts: tuple[Fraction, ...] = Field((0.3, 0.5, 0.7), min_length=1)
    """Shares of the depth at which tokens are dropped, rising."""

    def prunable(self, batch: Batch) -> range:
        """Return all positions but the last."""
        return range(batch.tokens - 1)

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut at each layer; every cut drops as many tokens."""
        drops = [(i + 1) / len(self.cuts) for i in range(len(self.cuts))]
        left = staged_counts(drops, self.keep_ratio, n)
        return dict(zip(cut_layers(self.cuts, layers), left, strict=True))

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the attention of the last token in the layer before."""
        return last_attention(seen(entry).outcome.probability)[:, where]
