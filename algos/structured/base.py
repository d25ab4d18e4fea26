"""What all methods share that prune heads and neurons: scores of a model, and masks of a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from algos.base import WorkloadKind
from algos.static.base import (
    BlockPruning,
    BlockView,
    LinearView,
    ModelView,
    PrunedWeight,
    Pruning,
)
from algos.static.planned import PlannedMethod
from algos.structured.budget import Masks, Sizes
from algos.structured.groups import Rows, head_rows, neuron_rows
from workloads.errors import InputError
from workloads.shapes import ModelShape

if TYPE_CHECKING:
    from torch import Tensor


class StructuredMethod(PlannedMethod):
    """A method that prunes heads, neurons or both. `keep_ratio` counts weights, not biases.

    Of a vision-language model it prunes the language model.
    """

    family: ClassVar[str] = "structured"
    granularity: ClassVar[str] = "heads and neurons"
    trace_kind: ClassVar[str] = "weights, structured"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("sentences", "text", "images", "questions")


def sizes_of(shape: ModelShape) -> Sizes:
    """Return the units of a layer and their weights."""
    return Sizes(
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        neurons=shape.intermediate,
        head_cost=2 * shape.head_dim * shape.hidden,
        kv_cost=2 * shape.head_dim * shape.hidden,
        neuron_cost=(3 if shape.gated else 2) * shape.hidden,
    )


def group_rows(block: BlockView, of: Callable[[LinearView], Tensor]) -> tuple[Rows, Rows]:
    """Return the coupled groups of a block's heads and neurons.

    Args:
        block: with one feed-forward layer.
        of: what of a matrix, (outputs, inputs): its weight, a gradient ...

    Raises:
        InputError: the feed-forward layer is a mixture of experts.
    """
    down = plain(block, "down")
    linears = block.linears
    gate = of(linears["gate"]) if "gate" in linears else None
    query, key, value, output = (of(linears[x]) for x in ("query", "key", "value", "output"))
    heads = head_rows(query, key, value, output, block.shape.heads)
    return heads, neuron_rows(gate, of(linears["up"]), of(down))


def plain(block: BlockView, name: str) -> LinearView:
    """Return a matrix of the feed-forward layer.

    Raises:
        InputError: it is a mixture of experts.
    """
    if name not in block.linears:
        raise InputError(
            f"layer {block.layer} must have one feed-forward layer for its neurons to be pruned, "
            f"not {block.experts} experts"
        )
    return block.linears[name]


def stacked(
    model: ModelView, score: Callable[[BlockView], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Return the scores of all blocks: heads (layers, heads) and neurons (layers, neurons)."""
    import torch

    found = [score(block) for block in model.blocks]
    return torch.stack([heads for heads, _ in found]), torch.stack([rest for _, rest in found])


def pruned(masks: Masks) -> Pruning:
    """Return the pruning of masks."""
    return Pruning.of_masks(heads=masks.heads, neurons=masks.neurons)


def by_head(columns: Tensor, heads: int) -> Tensor:
    """Return the sums (heads,) of the columns (heads * head_dim,) of each head."""
    return columns.view(heads, -1).sum(1)


def kept_inputs(block: BlockView, part: BlockPruning) -> list[tuple[LinearView, Tensor]]:
    """Return output and down projection, each with which inputs (columns,) are kept, bool."""
    assert part.heads is not None
    assert part.neurons is not None
    heads = part.heads.repeat_interleave(block.shape.head_dim)
    return [(block.linears["output"], heads), (block.linears["down"], part.neurons)]


def refitted(
    block: BlockView, part: BlockPruning, fit: Callable[[LinearView, Tensor], Tensor]
) -> BlockPruning:
    """Return a block's pruning in which the projections that read the pruned units make up for it.

    Args:
        block: as it was.
        part: heads and neurons kept.
        fit: (projection, inputs kept) -> its new weight (outputs, columns).
    """
    weights = {
        matrix.name: PrunedWeight(weight=fit(matrix, keep), pattern="structured")
        for matrix, keep in kept_inputs(block, part)
    }
    return replace(part, weights=weights)
