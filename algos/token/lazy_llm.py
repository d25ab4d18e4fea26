"""LazyLLM: prompt tokens that the next token needs least are put off, layer by layer.

Fu et al., arXiv:2407.14057.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import Batch, Fraction, Parity, WorkloadKind
from algos.token.base import Between
from algos.token.cuts import CutMethod, seen
from algos.token.shared import equal_cuts, last_attention

if TYPE_CHECKING:
    from torch import Tensor


class LazyLLM(CutMethod):
    """Drop, progressively, the prompt tokens that the last token attends to least.

    From the description: no program is released. The last token always stays. Every step starts
    from all tokens and decides anew: a token that an earlier step dropped before a layer comes back
    if the new token needs it, and is computed from the hidden state that it had there. Generated
    tokens are never dropped. The cuts' place and their equal steps are estimates.
    """

    name: ClassVar[str] = "lazy-llm"
    signal: ClassVar[str] = "attention of the last token"
    paper: ClassVar[str] = "Fu et al., arXiv:2407.14057"
    granularity: ClassVar[str] = "token"
    trace_kind: ClassVar[str] = "KV set, revive"
    revives: ClassVar[bool] = True
    parity: ClassVar[Parity] = "description"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("text", "questions")

    first_cut: Fraction = 0.3
    """Share of the depth at which tokens are first dropped."""
    last_cut: Fraction = 0.7
    """Share of the depth at which tokens are last dropped."""
    cuts: Annotated[int, Field(ge=1)] = 3
    """Cuts, evenly spaced; each drops as many tokens."""

    def prunable(self, batch: Batch) -> range:
        """Return all positions but the last."""
        return range(batch.tokens - 1)

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut at each layer; every cut drops as many tokens."""
        return equal_cuts(self.first_cut, self.last_cut, self.cuts, self.keep_ratio, layers, n)

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the attention of the last token in the layer before."""
        return last_attention(seen(entry).outcome.probability)[:, where]
