"""ShortGPT: drop the blocks that change their input least.  Men et al., arXiv:2403.03853."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from algos.base import Parity
from algos.layer.base import LayerMethod
from algos.selection import check_finite, keep_count
from algos.static.base import ModelView, Need, Pruning
from algos.static.planned import by_block, skipping

if TYPE_CHECKING:
    from torch import Tensor


def block_influence(before: Tensor, after: Tensor) -> Tensor:
    """Return 1 - cosine (tokens,) of hidden states (tokens, hidden) before and after a block.

    Where a state is all zero the cosine counts as 0.5, as in the authors' program.
    """
    return 1 - _cosine(before, after)


def angular_distance(before: Tensor, after: Tensor) -> Tensor:
    """Return the angle (tokens,) between hidden states (tokens, hidden), in units of pi."""
    return _cosine(before, after).clamp(-1, 1).arccos() / math.pi


def _cosine(before: Tensor, after: Tensor) -> Tensor:
    norms: Tensor = before.norm(dim=-1) * after.norm(dim=-1)
    return ((before * after).sum(-1) / norms).masked_fill(norms == 0, 0.5)


def blocks_to_drop(influence: Tensor, keep_ratio: float) -> list[int]:
    """Return the blocks to drop, ascending: the least influential, of equals the lower one.

    floor(keep_ratio * blocks) stay, at least one.

    Args:
        influence: (blocks,).
        keep_ratio: share of the blocks kept.
    """
    check_finite(influence[None], "block", 0)
    dropped = len(influence) - keep_count(keep_ratio, len(influence))
    return sorted(influence.argsort(stable=True)[:dropped].tolist())


class ShortGpt(LayerMethod):
    """Keep the blocks that turn their input most, whole.

    Influence is the mean over calibration tokens; all blocks go at once. `keep_ratio` is the
    share of blocks, rounded down to at least one.
    """

    name: ClassVar[str] = "shortgpt"
    signal: ClassVar[str] = "cosine of a block's input and output"
    paper: ClassVar[str] = "Men et al., arXiv:2403.03853"
    parity: ClassVar[Parity] = "authors"
    needs: ClassVar[frozenset[Need]] = frozenset({"hidden"})

    metric: Literal["influence", "angle"] = "influence"
    """1 - cosine, or the angle."""

    def plan(self, model: ModelView) -> Pruning:
        """Drop the least influential blocks."""
        measure = block_influence if self.metric == "influence" else angular_distance
        influence = by_block(model, lambda before, after: measure(before, after).mean())
        return skipping(len(influence), blocks_to_drop(influence, self.keep_ratio))
