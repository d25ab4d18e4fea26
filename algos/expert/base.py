"""What all methods share that drop or merge the experts of a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import WorkloadKind
from algos.selection import best_first, check_finite, keep_count
from algos.static.base import ModelView, Pruning
from algos.static.planned import PlannedMethod
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


class ExpertMethod(PlannedMethod):
    """A method that prunes experts; it runs on decoders whose feed-forward layers are mixtures."""

    family: ClassVar[str] = "expert"
    granularity: ClassVar[str] = "experts"
    trace_kind: ClassVar[str] = "experts"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("text",)


def check_mixtures(model: ModelView) -> None:
    """Require every feed-forward layer to be a mixture of experts.

    Raises:
        InputError: one is not.
    """
    for block in model.blocks:
        if not block.experts:
            raise InputError(
                f"layer {block.layer} must be a mixture for its experts to be pruned, "
                "it has one feed-forward layer"
            )


def dropping(scores: Tensor, keep_ratio: float) -> Pruning:
    """Return the pruning that keeps the experts of each layer with the best scores.

    floor(keep_ratio * experts) of them, at least one, the lower index first among equals; nobody
    stands for the others, whose tokens go to the next best.

    Args:
        scores: (layers, experts).
        keep_ratio: share of each layer's experts kept.

    Raises:
        InputError: a score is not finite.
    """
    import torch

    for layer, row in enumerate(scores):
        check_finite(row[None], "expert", layer)
    kept = keep_count(keep_ratio, scores.shape[1])
    order = best_first(scores, kept)
    none = torch.full(scores.shape, -1)
    return Pruning.of_masks(experts=none.scatter(1, order, order))
