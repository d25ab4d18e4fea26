"""What all methods share that prune attention heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from algos.base import WorkloadKind
from algos.selection import check_finite, largest
from algos.static.planned import PlannedMethod

if TYPE_CHECKING:
    from torch import Tensor


class HeadMethod(PlannedMethod):
    """A method that prunes query heads; a key head lives while one of its query heads does.

    Of a vision-language model it prunes the language model.
    """

    family: ClassVar[str] = "head"
    granularity: ClassVar[str] = "heads"
    trace_kind: ClassVar[str] = "head mask"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("sentences", "text", "images", "questions")


def best_heads(scores: Tensor, kept: int) -> Tensor:
    """Return which heads are kept: the `kept` best of each row of (layers, heads), lowest first.

    Raises:
        InputError: a score is not finite.
    """
    for layer, row in enumerate(scores):
        check_finite(row[None], "head", layer)
    return largest(scores, kept)
