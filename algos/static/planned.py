"""Static methods that decide everything at once, seeing the dense model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from algos.static.base import BlockPruning, BlockView, ModelView, Pruning, StaticMethod

if TYPE_CHECKING:
    from torch import Tensor


class PlannedMethod(StaticMethod):
    """A method whose plan is the pruning."""

    @abstractmethod
    def plan(self, model: ModelView) -> Pruning:
        """Decide what every block loses."""

    def prune_block(self, block: BlockView, plan: Any) -> BlockPruning:
        """Return the block's part of the plan."""
        found: BlockPruning = plan.blocks[block.layer]
        return found


def skipping(layers: int, skipped: list[int]) -> Pruning:
    """Return a pruning of `layers` blocks that leaves out the `skipped` ones, both halves."""
    gone = BlockPruning(skip_attention=True, skip_ffn=True)
    return Pruning.only(layers, dict.fromkeys(skipped, gone))


def by_block(model: ModelView, measure: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return (blocks,): `measure` of the states (tokens, hidden) that enter and leave a block."""
    import torch

    pairs = ((joined(block.entered), joined(block.left)) for block in model.blocks)
    return torch.stack([measure(*pair) for pair in pairs])


def joined(samples: tuple[Tensor, ...]) -> Tensor:
    """Return the tokens of all samples, (tokens, n)."""
    import torch

    return torch.cat(samples)
