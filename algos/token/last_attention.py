"""Attention of the last token after one early layer: the plain baseline.

Chen et al., FastV, ECCV 2024, arXiv:2403.06764, made this the usual comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from algos.base import Parity
from algos.selection import keep_count
from algos.token.base import Between
from algos.token.cuts import VisualCuts, seen
from algos.token.shared import last_attention

if TYPE_CHECKING:
    from torch import Tensor


class LastAttention(VisualCuts):
    """Drop, once, the visual tokens that the prompt's last token attends to least.

    The plain baseline of the visual token methods: mean over heads, no correction of any kind.
    """

    name: ClassVar[str] = "last-attention"
    signal: ClassVar[str] = "attention of the last token"
    paper: ClassVar[str] = "Chen et al., ECCV 2024, arXiv:2403.06764"
    parity: ClassVar[Parity] = "hand"

    layer: Annotated[int, Field(ge=1)] = 2
    """Layers that see every visual token, all but the last of a shallow model; the scores are those
    of the last of them."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut once."""
        return {min(self.layer, max(layers - 1, 1)): keep_count(self.keep_ratio, n)}

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return the attention each visual token gets of the last token."""
        return last_attention(seen(entry).outcome.probability)[:, where]
