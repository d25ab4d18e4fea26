"""ToMe: tokens of a vision transformer with similar keys merge, some before every block.

Bolya et al., ICLR 2023, arXiv:2210.09461. The matching is in `algos.visual.matching`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from algos.base import AttentionOutcome, Batch, Decision, Parity, Ratio, WorkloadKind
from algos.selection import keep_count
from algos.token.base import Between, TokenMethod
from algos.visual.matching import in_order, match
from workloads.step import AttentionStep

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class MergeState:
    """What the tokens of one batch of images are made of."""

    sizes: Tensor  # (batch, token) patches in each token alive
    alive: tuple[int, ...]  # tokens that enter each block
    class_token: bool


class ToMe(TokenMethod):
    """Merge the tokens whose keys are most similar, equally many before every block but the first.

    A token weighs in attention as many patches as it is made of. Differs from the paper: tokens
    merge between blocks, by the keys of the block before, not between attention and feed-forward;
    they stay in order of position, where the authors' program puts the even ones first, so that
    the next block forms other pairs; the number merged follows from the ratio. At most half of
    the tokens merge before one block: where that is too few, more than the budget is left.
    """

    name: ClassVar[str] = "tome"
    family: ClassVar[str] = "visual"
    signal: ClassVar[str] = "similarity of keys"
    paper: ClassVar[str] = "Bolya et al., ICLR 2023, arXiv:2210.09461"
    granularity: ClassVar[str] = "visual token"
    trace_kind: ClassVar[str] = "merge map"
    parity: ClassVar[Parity] = "authors"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("images",)

    keep_ratio: Ratio = 0.5
    """Patches left in the last block, rounded down, at least 1; an estimate."""

    def begin(self, batch: Batch) -> MergeState:
        """Return a state in which each token is one patch."""
        import torch

        fixed = int(batch.layout.class_token)
        alive = schedule(batch.tokens - fixed, self.keep_ratio, batch.shape.layers)
        sizes = torch.ones(batch.size, batch.tokens)
        return MergeState(sizes, tuple(fixed + n for n in alive), batch.layout.class_token)

    def attend(self, step: AttentionStep, state: MergeState) -> AttentionOutcome:
        """Attend to each token as to all its patches (section 3, proportional attention)."""
        bias = state.sizes.log()[:, None, None].expand(-1, -1, step.query.shape[2], -1)
        mask = bias if step.mask is None else step.mask + bias
        return super().attend(replace(step, mask=mask), state)

    def between(self, entry: Between, state: MergeState) -> Decision:
        """Merge by the mean over heads of the keys of the block before."""
        surplus = state.sizes.shape[1] - state.alive[entry.layer]
        if entry.before is None or surplus <= 0:
            return Decision()
        members = match(entry.before.step.key.mean(1), surplus, state.class_token)
        kept, ordered = in_order(members)
        weight = ordered * state.sizes[:, None]
        state.sizes = weight.sum(-1)
        return Decision(kept_tokens=kept, merge=weight / state.sizes[..., None])


def schedule(patches: int, keep_ratio: float, layers: int) -> tuple[int, ...]:
    """Return the patches that enter each block: all, then equally fewer down to the budget."""
    surplus = patches - keep_count(keep_ratio, patches)
    return tuple(patches - surplus * layer // max(layers - 1, 1) for layer in range(layers))
