"""TransPrune: keep the visual tokens that layers still change, and that the question looks at.

Li et al., CVPR 2026, arXiv:2507.20630.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from algos.base import Decision, Parity, Ratio
from algos.token.base import Between
from algos.token.cuts import CutState, VisualCuts
from algos.token.shared import cut_layers, shares, staged_counts

if TYPE_CHECKING:
    from torch import Tensor

CUTS = (7 / 32, 9 / 32, 12 / 32)  # of the depth of the paper's model
DROPS = (1 / 7, 3 / 7, 1.0)  # keeps .875, .625 and .125


class TransPrune(VisualCuts):
    """Drop visual tokens that change little and that the question attends to little, in 3 stages.

    Token transition variation is summed from the first cut's layer on; the guidance is attention
    of the coming layer. The cuts are the paper's share of the depth.
    """

    name: ClassVar[str] = "transprune"
    signal: ClassVar[str] = "change of norm and direction in each module; attention of the question"
    paper: ClassVar[str] = "Li et al., CVPR 2026, arXiv:2507.20630"
    parity: ClassVar[Parity] = "authors"
    wants_modules: ClassVar[bool] = True

    keep_ratio: Ratio = 0.125
    """Visual tokens kept after the last cut, rounded down; the cuts before drop 1/7 and 3/7 of
    what is dropped in all."""
    compat: Literal["paper", "authors"] = "paper"
    """"authors": the softmax over tokens runs over the whole batch, not over a sequence."""

    def counts(self, layers: int, n: int) -> Mapping[int, int]:
        """Cut three times."""
        cuts = cut_layers(CUTS, layers)
        return dict(zip(cuts, staged_counts(DROPS, self.keep_ratio, n), strict=True))

    def between(self, entry: Between, state: CutState) -> Decision:
        """Add the transition of the block before, then cut."""
        if entry.before is not None and min(state.counts) <= entry.layer <= max(state.counts):
            whole = self.compat == "authors"
            pairs = entry.before.modules.values()
            for variation in (transition(given, out, whole) for given, out in pairs):
                state.memory = variation if state.memory is None else state.memory + variation
        return super().between(entry, state)

    def score(self, entry: Between, where: slice, state: Any) -> Tensor:
        """Return shares of variation and of attention, summed."""
        return stage_score(state.memory, entry.look_ahead().probability, where)


def transition(given: Tensor, out: Tensor, whole_batch: bool = False) -> Tensor:
    """Return how much a module changes each token, (batch, token).

    Args:
        given: (batch, token, hidden) the module's normed input.
        out: its output, before the residual.
        whole_batch: take the softmax over all sequences together.
    """
    from torch.nn.functional import cosine_similarity

    turn = 1 - cosine_similarity(given, out, dim=-1)
    weight = turn.flatten().softmax(0).view_as(turn) if whole_batch else turn.softmax(-1)
    size: Tensor = out.norm(dim=-1) / given.norm(dim=-1).clamp_min(1e-30)
    return size * weight


def stage_score(variation: Tensor, probability: Tensor, visual: slice) -> Tensor:
    """Return the score of each visual token, (batch, visual).

    Args:
        variation: (batch, token) summed over modules and layers.
        probability: (batch, head, query, key) of the coming layer; queries after the visual
            tokens are the question.
        visual: where the visual tokens are.
    """
    guidance = probability[:, :, visual.stop :, visual].mean((1, 2))
    return shares(variation[:, visual]) + shares(guidance)
