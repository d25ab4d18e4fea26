"""What all methods share that skip layers."""

from __future__ import annotations

from typing import ClassVar

from algos.base import WorkloadKind
from algos.static.planned import PlannedMethod


class LayerMethod(PlannedMethod):
    """A method that leaves out whole blocks, or their attention or feed-forward halves.

    Of a vision-language model it prunes the language model.
    """

    family: ClassVar[str] = "layer"
    granularity: ClassVar[str] = "blocks"
    trace_kind: ClassVar[str] = "layer skip"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("sentences", "text", "images", "questions")
