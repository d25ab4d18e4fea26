"""ToDRE, stage 2: once text and image no longer look at each other, the image goes.

Li et al., arXiv:2505.18757. Stage 1 acts before the language model and is a method of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from algos.base import Batch, Decision, Fraction, Parity, WorkloadKind
from algos.token.base import Between, TokenMethod
from algos.token.cuts import living, required_visual
from algos.token.shared import cut_layers, with_others
from workloads.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class DropState:
    """Where the decision falls."""

    layer: int
    visual: range


class ToDREDrop(TokenMethod):
    """Drop all visual tokens in a late layer if text and image attend to each other little.

    From the description: the share of a query's attention that falls on the other kind, mean over
    heads and queries, is taken for the ratio. A batch decides as one: all its sequences must be
    below the threshold. Slack: it keeps all visual tokens or none; there is no budget.
    """

    name: ClassVar[str] = "todre-drop"
    signal: ClassVar[str] = "attention from text to image and from image to text"
    paper: ClassVar[str] = "Li et al., arXiv:2505.18757"
    granularity: ClassVar[str] = "all visual tokens"
    trace_kind: ClassVar[str] = "token mask"
    parity: ClassVar[Parity] = "description"
    workloads: ClassVar[tuple[WorkloadKind, ...]] = ("questions",)

    layer: Fraction = 7 / 8
    """Share of the depth at which it is decided."""
    threshold: Fraction = 0.1
    """Both shares of attention must be below this."""

    def begin(self, batch: Batch) -> DropState:
        """Return the layer of this model."""
        (layer,) = cut_layers((self.layer,), batch.shape.layers)
        return DropState(layer, required_visual(batch, self.name))

    def between(self, entry: Between, state: DropState) -> Decision:
        """Drop all or nothing."""
        if entry.layer != state.layer or entry.before is None:
            return Decision()
        visual = living(entry.ids, state.visual)
        shares = cross_shares(entry.before.outcome.probability, visual)
        if not bool(shares.isfinite().all()):
            raise InputError(
                f"{self.name} attention must be finite, that of layer {state.layer} is not"
            )
        if visual.start == visual.stop or bool((shares >= self.threshold).any()):
            return Decision()
        none = entry.ids[:, :0]
        return Decision(kept_tokens=with_others(none, visual, entry.ids.shape[1]))


def cross_shares(probability: Tensor, visual: slice) -> Tensor:
    """Return the attention of text (after the image) to image and of image to text, (batch, 2).

    Args:
        probability: (batch, head, query, key).
        visual: where the visual tokens are.
    """
    import torch

    mean = probability.mean(1)
    from_image, from_text = mean[:, visual], mean[:, visual.stop :]
    to_image = from_text[:, :, visual].sum(2).mean(1)
    to_text = 1 - from_image[:, :, visual].sum(2).mean(1)
    return torch.stack([to_image, to_text], 1)
