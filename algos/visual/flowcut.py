"""FlowCut: patches leave the vision encoder block by block, by what flows to the class token.

Tong et al., NeurIPS 2025, arXiv:2505.19536. The scores are in `algos.visual.flow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from algos.base import Batch, Decision, Parity, Ratio, WorkloadKind
from algos.selection import keep_count
from algos.token.base import Between, TokenMethod
from algos.visual.flow import accumulate, flow_score, patches_to_drop, semantic_attention
from algos.visual.ranking import class_attention, top_ids
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class FlowState:
    """What one batch of images has accumulated."""

    layers: int
    target: int  # patches to arrive at
    past: Tensor | None = None  # (batch, patch) of those alive


class FlowCut(TokenMethod):
    """Keep the patches that most information flows from to the class token, fewer block by block.

    The target is met exactly before the last block. Images that run together drop the same
    number, that of the image that drops fewest: with others an image may drop its patches later
    than alone. The authors' program also cuts AnyRes crops inside the language model.
    """

    name: ClassVar[str] = "flowcut"
    family: ClassVar[str] = "visual"
    signal: ClassVar[str] = "class attention, resemblance and size of values, over layers"
    paper: ClassVar[str] = "Tong et al., NeurIPS 2025, arXiv:2505.19536"
    granularity: ClassVar[str] = "visual token"
    trace_kind: ClassVar[str] = "token mask"
    parity: ClassVar[Parity] = "authors"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("images",)

    keep_ratio: Ratio = 1 / 9
    """Patches left in the last block, rounded down, at least 1."""

    def begin(self, batch: Batch) -> FlowState:
        """Return a state without scores.

        Raises:
            InputError: the images have no class token.
        """
        if not batch.layout.class_token:
            raise InputError("flowcut must have a class token that information flows to, not none")
        patches = batch.tokens - 1
        return FlowState(batch.shape.layers, keep_count(self.keep_ratio, patches))

    def between(self, entry: Between, state: FlowState) -> Decision:
        """Score the block before and drop what its attention lets go."""
        import torch

        if entry.before is None:
            return Decision()
        attention = class_attention(entry.before.outcome.probability)
        value = entry.before.step.value
        score = flow_score(attention, semantic_attention(value), value.mean(1)[:, 1:])
        state.past = accumulate(state.past, score)
        left = state.layers - 1 - entry.layer
        dropped = int(patches_to_drop(attention, state.target, left).min())
        if not dropped:
            return Decision()
        kept = top_ids(state.past, attention.shape[1] - dropped)
        state.past = state.past.gather(1, kept)
        return Decision(kept_tokens=torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], 1))
